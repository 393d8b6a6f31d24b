# Copyright (c) The mmpointrend authors.
"""Tiny datasets and PointRend configs of both tasks: a few iterations take seconds on one core."""

import gc
import itertools
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

_RUNS = itertools.count()
CLASSES = ('disc', 'box')
SIZE = 64


def write_data(root: Path, images: int = 6) -> Path:
    """Images of a disc and a box on noise, as label maps (0 background) and as COCO polygons."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    coco = dict(
        images=[],
        annotations=[],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)],
    )
    for index in range(images):
        image = rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
        label = np.zeros((SIZE, SIZE), np.uint8)
        x, y = (int(v) for v in rng.integers(14, 24, 2))
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        disc = np.stack([x + 12 * np.cos(angles), y + 12 * np.sin(angles)], 1).round()
        box = np.array([[34, 34], [58, 34], [58, 56], [34, 56]]) + rng.integers(-2, 3, (1, 2))
        for category, polygon in enumerate((disc, box), start=1):
            points = polygon.astype(np.int32)
            cv2.fillPoly(image, [points], (90 * category, 200, 250 - 80 * category))
            cv2.fillPoly(label, [points], category)
            low, high = points.min(0), points.max(0)
            coco['annotations'].append(
                dict(
                    id=len(coco['annotations']) + 1,
                    image_id=index,
                    category_id=category,
                    iscrowd=0,
                    bbox=[*map(int, low), *map(int, high - low)],
                    area=float(cv2.contourArea(points)),
                    segmentation=[[float(v) for v in points.ravel()]],
                )
            )
        name = f'{index:02d}.png'
        cv2.imwrite(str(root / 'images' / name), image)
        cv2.imwrite(str(root / 'labels' / name), label)
        coco['images'].append(dict(id=index, file_name=name, width=SIZE, height=SIZE))
    (root / 'annotations.json').write_text(json.dumps(coco))
    return root


_COMMON = """
work_dir = {work_dir!r}
randomness = dict(seed=0)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='gloo'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
log_processor = dict(window_size=2)
auto_scale_lr = dict(base_batch_size=2, enable=False)
"""

_SEMANTIC = """
default_scope = 'mmseg'
classes = ('background', 'disc', 'box')
dataset = dict(
    type='BaseSegDataset', data_root={data!r}, img_suffix='.png', seg_map_suffix='.png',
    data_prefix=dict(img_path='images', seg_map_path='labels'), metainfo=dict(
        classes=classes, palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]]))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(48, 48)), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (1.0, 1.5)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
train_dataloader = dict(
    batch_size=2, num_workers={workers}, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=test_pipeline))
val_evaluator = test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
train_cfg = dict(type='IterBasedTrainLoop', max_iters={length}, val_interval={interval})
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end={length}, by_epoch=False)]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval={interval}),
    visualization=dict(type='SegVisualizationHook'))
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[60.0] * 3,
                           size=(48, 48), pad_val=0, seg_pad_val=255),
    backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, num_stages=4,
                  out_indices=(0, 1, 2, 3), norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='mmpointrend.PointRendHead',
        coarse_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1,
                         dropout_ratio=0.1, num_classes=3, norm_cfg=dict(type='BN'),
                         loss_decode=dict(type='CrossEntropyLoss')),
        point_head=dict(in_channels=[8], in_index=[0], channels=8, num_fcs=2,
                        coarse_pred_each_layer=True, loss_decode=dict(type='CrossEntropyLoss'))),
    train_cfg=dict(num_points=64, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(mode='whole', subdivision_steps=2, subdivision_num_points=64, scale_factor=2))
model['data_preprocessor'].update(test_cfg=dict(size_divisor=32))
del dataset, classes
"""

_INSTANCE = """
default_scope = 'mmdet'
dataset = dict(
    type='CocoDataset', data_root={data!r}, ann_file='annotations.json',
    data_prefix=dict(img='images/'), metainfo=dict(classes=('disc', 'box')))
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoiceResize', scales=[(64, 64), (80, 80), (96, 96)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                                          'scale_factor'))]
train_dataloader = dict(
    batch_size=2, num_workers={workers}, sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'), dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, test_mode=True, pipeline=test_pipeline))
val_evaluator = test_evaluator = dict(
    type='CocoMetric', ann_file={data!r} + '/annotations.json', metric=['bbox', 'segm'])
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs={length}, val_interval={interval})
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type='MultiStepLR', milestones=[1], by_epoch=True)]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval={interval}),
    visualization=dict(type='DetVisualizationHook'))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
rcnn = dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)
model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.5] * 3, std=[60.0] * 3,
                           pad_mask=True, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, out_indices=(0, 1, 2, 3)),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4),
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    roi_head=dict(
        type='mmpointrend.PointRendRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=16, featmap_strides=[4, 8, 16, 32]),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, roi_feat_size=7, num_classes=2,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=dict(type='L1Loss')),
        mask_roi_extractor=dict(
            type='GenericRoIExtractor', aggregation='concat',
            roi_layer=dict(type='SimpleRoIAlign', output_size=14), out_channels=16, featmap_strides=[4]),
        mask_head=dict(
            type='mmpointrend.CoarseMaskHead', num_fcs=1, in_channels=16, conv_out_channels=16,
            fc_out_channels=16, num_classes=2, loss_mask=dict(type='CrossEntropyLoss', use_mask=True)),
        point_head=dict(
            type='mmpointrend.MaskPointHead', num_fcs=2, in_channels=16, fc_channels=16, num_classes=2,
            loss_point=dict(type='CrossEntropyLoss', use_mask=True))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5, add_gt_as_proposals=False),
            allowed_border=-1, pos_weight=-1),
        rpn_proposal=dict(nms_pre=50, max_per_img=30, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(type='MaxIoUAssigner', match_low_quality=False, **rcnn),
            sampler=dict(type='RandomSampler', num=16, pos_fraction=0.25, add_gt_as_proposals=True),
            mask_size=7, num_points=49, oversample_ratio=3, importance_sample_ratio=0.75,
            pos_weight=-1, train_on_pred_boxes=True)),
    test_cfg=dict(
        rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, mask_thr_binary=0.5,
                  subdivision_steps=3, subdivision_num_points=49, scale_factor=2)))
del dataset, rcnn
"""

_TASKS = {'semantic': _SEMANTIC, 'instance': _INSTANCE}


def write_config(
    task: str, folder: Path, data: Path, *, length: int, interval: int = 2, workers: int = 1
) -> Path:
    """Config of a tiny run: ``length`` is in iterations (semantic) or epochs (instance)."""
    text = (_TASKS[task] + _COMMON).format(
        data=str(data),
        length=length,
        interval=interval,
        workers=workers,
        work_dir=str(folder / 'run'),
    )
    path = folder / f'tiny_{task}.py'
    path.write_text(text)
    return path


def run_tool(tool: str, *arguments: object) -> None:
    """``python tools/<tool>.py arguments`` in this process, which has imported everything already."""
    script = Path(__file__).parents[1] / 'tools' / f'{tool}.py'
    # Within one second two runs would share the name under which mmengine keeps its logger.
    name = f'run{next(_RUNS)}'
    argv = [str(script), *map(str, arguments)]
    argv += [] if '--cfg-options' in argv else ['--cfg-options']
    argv.insert(argv.index('--cfg-options') + 1, f'experiment_name={name}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', argv)
        try:
            runpy.run_path(str(script), run_name='__main__')
        finally:
            stop_workers()


def run_converter(name: str, *arguments: object) -> None:
    """``python tools/dataset_converters/<name>.py arguments`` in this process."""
    script = Path(__file__).parents[1] / 'tools' / 'dataset_converters' / f'{name}.py'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [str(script), *map(str, arguments)])
        runpy.run_path(str(script), run_name='__main__')


def stop_workers() -> None:
    """End the data loading of finished runs; left to the garbage collector each worker costs 5 s."""
    for item in gc.get_objects():
        if type(item) is _MultiProcessingDataLoaderIter:
            item._shutdown_workers()
