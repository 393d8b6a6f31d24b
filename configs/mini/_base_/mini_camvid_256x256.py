# Copyright (c) The mmpointrend authors.
"""CamVid (SegNet's 480x360 edition, 11 classes), read from `MMPOINTREND_SHARED`."""

data_root = '{{$MMPOINTREND_SHARED:../shared}}/data/camvid'
crop_size = (256, 256)

train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(
        type='RandomResize',
        scale=(480, 360),
        ratio_range=(0.75, 1.5),
        keep_ratio=True,
        _scope_='mmseg',
    ),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75, _scope_='mmseg'),
    dict(type='RandomFlip', prob=0.5, _scope_='mmseg'),
    dict(type='PhotoMetricDistortion', _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]

dataset_type = 'mmpointrend.CamVidDataset'

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True, _scope_='mmseg'),
    dataset=dict(
        type=dataset_type,
        _scope_='mmseg',
        data_root=data_root,
        data_prefix=dict(img_path='train', seg_map_path='trainannot'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, _scope_='mmseg'),
    dataset=dict(
        type=dataset_type,
        _scope_='mmseg',
        data_root=data_root,
        data_prefix=dict(img_path='val', seg_map_path='valannot'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU'], _scope_='mmseg'),
    # 3 px wide, the share that Cityscapes' road scenes are measured with; and COCO's, 12 px.
    dict(type='mmpointrend.BoundaryIoUMetric', dilation_ratio=0.005, _scope_='mmseg'),
    dict(type='mmpointrend.BoundaryIoUMetric', dilation_ratio=0.02, prefix='wide', _scope_='mmseg'),
]
test_evaluator = val_evaluator
