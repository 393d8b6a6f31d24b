# Copyright (c) The mmpointrend authors.
"""Small heads and models of both tasks, ours and the neighbours', from the same config."""

import copy

import numpy as np
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.structures import SegDataSample

NUM_CLASSES = 5
HEIGHT, WIDTH = 96, 128
META = {'ori_shape': (HEIGHT, WIDTH), 'img_shape': (HEIGHT, WIDTH), 'scale_factor': (1.0, 1.0)}


def roi_head_config(package='mmpointrend', levels=(4,)):
    """PointRend's RoI head over the given feature strides, every part of ``package``'s."""
    channels = 16 * len(levels)
    mask_loss = {'type': 'CrossEntropyLoss', 'use_mask': True, 'loss_weight': 1.0}
    return ConfigDict(
        type=f'{package}.PointRendRoIHead',
        bbox_roi_extractor={
            'type': 'SingleRoIExtractor',
            'roi_layer': {'type': 'RoIAlign', 'output_size': 7, 'sampling_ratio': 0},
            'out_channels': 16,
            'featmap_strides': [4, 8],
        },
        bbox_head={
            'type': 'Shared2FCBBoxHead',
            'in_channels': 16,
            'fc_out_channels': 32,
            'roi_feat_size': 7,
            'num_classes': NUM_CLASSES,
            'bbox_coder': {'type': 'DeltaXYWHBBoxCoder', 'target_stds': [0.1, 0.1, 0.2, 0.2]},
            'reg_class_agnostic': False,
            'loss_cls': {'type': 'CrossEntropyLoss', 'use_sigmoid': False, 'loss_weight': 1.0},
            'loss_bbox': {'type': 'L1Loss', 'loss_weight': 1.0},
        },
        mask_roi_extractor={
            'type': 'GenericRoIExtractor',
            'aggregation': 'concat',
            'roi_layer': {'type': 'SimpleRoIAlign', 'output_size': 14},
            'out_channels': channels,
            'featmap_strides': list(levels),
        },
        mask_head={
            'type': f'{package}.CoarseMaskHead',
            'num_fcs': 2,
            'in_channels': channels,
            'conv_out_channels': 16,
            'fc_out_channels': 32,
            'num_classes': NUM_CLASSES,
            'loss_mask': mask_loss,
        },
        point_head={
            'type': f'{package}.MaskPointHead',
            'num_fcs': 3,
            'in_channels': channels,
            'fc_channels': 32,
            'num_classes': NUM_CLASSES,
            'coarse_pred_each_layer': True,
            'loss_point': mask_loss,
        },
        train_cfg={
            'assigner': {
                'type': 'MaxIoUAssigner',
                'pos_iou_thr': 0.5,
                'neg_iou_thr': 0.5,
                'min_pos_iou': 0.5,
                'match_low_quality': False,
                'ignore_iof_thr': -1,
            },
            'sampler': {
                'type': 'RandomSampler',
                'num': 32,
                'pos_fraction': 0.25,
                'neg_pos_ub': -1,
                'add_gt_as_proposals': True,
            },
            'mask_size': 7,
            'num_points': 196,
            'oversample_ratio': 3,
            'importance_sample_ratio': 0.75,
            'pos_weight': -1,
        },
        test_cfg={
            'score_thr': 0.05,
            'nms': {'type': 'nms', 'iou_threshold': 0.5},
            'max_per_img': 100,
            'mask_thr_binary': 0.5,
            'subdivision_steps': 5,
            'subdivision_num_points': 784,
            'scale_factor': 2,
        },
    )


def implicit_config(levels=(4,)):
    """Implicit PointRend's RoI head over the given feature strides."""
    config = roi_head_config(levels=levels)
    config.type = 'mmpointrend.ImplicitPointRendRoIHead'
    config.mask_head.type = 'mmpointrend.ParameterHead'
    del config.mask_head['num_classes'], config.mask_head['loss_mask']
    config.point_head.type = 'mmpointrend.ImplicitPointHead'
    del config.point_head['coarse_pred_each_layer']
    config.point_head.num_frequencies = 8
    config.train_cfg.point_selection = {'type': 'UniformSelection'}
    config.test_cfg.subdivision_steps = 3
    return config


def build_roi_head(config):
    """RoI head with weights that make masks neither empty nor full."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MMDET_MODELS.build(config)
    spread(head)
    return head


def spread(module):
    """Weights large enough that outputs depend on inputs, the same for the same shapes and order."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)


def feature_levels(strides=(4, 8), images=2, channels=16):
    """Random feature levels of a batch, leaves that collect gradients."""
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(
            images, channels, HEIGHT // stride, WIDTH // stride, generator=generator
        ).requires_grad_()
        for stride in strides
    ]


def detections(counts):
    """Boxes, labels and scores for each image, some reaching over the border."""
    generator = torch.Generator().manual_seed(2)
    results = []
    for count in counts:
        corners = torch.rand(count, 2, generator=generator) * torch.tensor([90.0, 60.0]) - 5
        sizes = torch.rand(count, 2, generator=generator) * 60 + 4
        results.append(
            InstanceData(
                bboxes=torch.cat([corners, corners + sizes], dim=1),
                labels=torch.randint(NUM_CLASSES, (count,), generator=generator),
                scores=torch.ones(count),
            )
        )
    return results


def training_batch(counts):
    """Data samples with that many instances each, and proposals near them and elsewhere."""
    rng = np.random.default_rng(3)
    samples, proposals = [], []
    for instances in detections(counts):
        instances.bboxes = instances.bboxes.clamp(min=0)
        blobs = rng.random((len(instances), HEIGHT // 8, WIDTH // 8)) > 0.5
        masks = blobs.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
        truth = InstanceData(
            bboxes=instances.bboxes,
            labels=instances.labels,
            masks=BitmapMasks(masks, HEIGHT, WIDTH),
        )
        sample = DetDataSample(metainfo=META)
        sample.gt_instances = truth
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
        elsewhere = torch.tensor(rng.random((12, 4)) * 40, dtype=torch.float32)
        elsewhere[:, 2:] += elsewhere[:, :2] + 5
        boxes = torch.cat([instances.bboxes + 1.5, elsewhere])
        proposals.append(InstanceData(bboxes=boxes, scores=torch.ones(len(boxes))))
    return samples, proposals


def roi_losses(head, x, counts):
    """Losses of an RoI head and, by their sum, gradients of its parameters and of x."""
    samples, proposals = training_batch(counts)
    torch.manual_seed(4)
    np.random.seed(4)
    losses = head.loss(x, proposals, samples)
    head.zero_grad()
    for level in x:
        level.grad = None
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    return losses, gradients, [level.grad.clone() for level in x if level.grad is not None]


def predict(head, x, results, metas=None, rescale=True):
    """Masks of detections, which are left as they were."""
    results = copy.deepcopy(results)
    with torch.no_grad():
        head.predict_mask(x, metas or [META] * len(results), results, rescale=rescale)
    return [instances.masks for instances in results]


def change(path, value):
    """A config with one key changed."""
    config = roi_head_config()
    *parents, key = path.split('.')
    part = config
    for parent in parents:
        part = part[parent]
    part[key] = value
    return config


def fpn_head(num_classes=NUM_CLASSES, align_corners=False, **kwargs):
    """Config of mmseg's FPNHead, one channel where ``num_classes`` is 1."""
    binary = num_classes == 1
    return dict(
        type='FPNHead',
        in_channels=[16] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=8,
        dropout_ratio=0,
        num_classes=2 if binary else num_classes,
        out_channels=1 if binary else num_classes,
        threshold=0.5 if binary else None,
        norm_cfg={'type': 'BN'},
        align_corners=align_corners,
        loss_decode={'type': 'CrossEntropyLoss', 'use_sigmoid': binary},
        **kwargs,
    )


def point_head(in_index=(0,), **kwargs):
    """Config of a semantic point head over FPN levels, with mmseg's keys."""
    return dict(
        in_channels=[16] * len(in_index),
        in_index=list(in_index),
        channels=16,
        num_fcs=3,
        coarse_pred_each_layer=True,
        **kwargs,
    )


def pointrend(coarse=None, point=None, **kwargs):
    """Config of our decode head."""
    return dict(
        type='mmpointrend.PointRendHead',
        coarse_head=coarse or fpn_head(),
        point_head=point or point_head(),
        **kwargs,
    )


def build_segmentor(decode_head, **changes):
    """Segmentor R18-FPN: an ``EncoderDecoder``, or mmseg's cascade where ``decode_head`` is a list of two."""
    config = ConfigDict(
        type='EncoderDecoder',
        backbone={'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'norm_cfg': {'type': 'BN'}},
        neck={'type': 'FPN', 'in_channels': [8, 16, 32, 64], 'out_channels': 16, 'num_outs': 4},
        decode_head=decode_head,
        train_cfg={'num_points': 100, 'oversample_ratio': 3, 'importance_sample_ratio': 0.75},
        test_cfg={
            'mode': 'whole',
            'subdivision_steps': 2,
            'subdivision_num_points': 500,
            'scale_factor': 2,
        },
    )
    for key, value in copy.deepcopy(changes).items():
        config[key] = value
    if isinstance(decode_head, list):
        config.update(type='CascadeEncoderDecoder', num_stages=2)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMSEG_MODELS.build(config)
    spread(model)
    return model


def semantic_batch(num_classes=NUM_CLASSES, images=2):
    """Images and data samples of blobs of labels, some void."""
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(images, 3, HEIGHT, WIDTH, generator=generator)
    samples = []
    for _ in range(images):
        labels = torch.randint(
            max(num_classes, 2), (1, HEIGHT // 8, WIDTH // 8), generator=generator
        )
        labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
        labels[:, :10] = 255
        sample = SegDataSample(metainfo={**META, 'pad_shape': (HEIGHT, WIDTH)})
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return inputs, samples
