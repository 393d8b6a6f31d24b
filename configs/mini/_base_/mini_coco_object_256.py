# Copyright (c) The mmpointrend authors.
"""A COCO subset with one class, 'object', short side 256.

The annotations are written by `tools/dataset_converters/coco_to_one_class.py` (see the README).
"""

img_root = '{{$MMPOINTREND_SHARED:../shared}}/data/coco_multi'
ann_root = 'data/coco_object'

train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False, _scope_='mmdet'),
    dict(
        type='RandomChoiceResize',
        scales=[(416, side) for side in (224, 256, 288)],
        keep_ratio=True,
        _scope_='mmdet',
    ),
    dict(type='RandomFlip', prob=0.5, _scope_='mmdet'),
    dict(type='PackDetInputs', _scope_='mmdet'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet'),
    dict(type='Resize', scale=(384, 256), keep_ratio=True, _scope_='mmdet'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False, _scope_='mmdet'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
        _scope_='mmdet',
    ),
]

coco_object = dict(
    type='CocoDataset', _scope_='mmdet', metainfo=dict(classes=('object',), palette=[(220, 20, 60)])
)

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True, _scope_='mmdet'),
    dataset=dict(
        ann_file=f'{ann_root}/instances_train2017.json',
        data_prefix=dict(img=f'{img_root}/train2017'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
        **coco_object,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, _scope_='mmdet'),
    dataset=dict(
        ann_file=f'{ann_root}/instances_val2017.json',
        data_prefix=dict(img=f'{img_root}/val2017'),
        test_mode=True,
        pipeline=test_pipeline,
        **coco_object,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='mmpointrend.CocoBoundaryMetric',
    _scope_='mmdet',
    ann_file=f'{ann_root}/instances_val2017.json',
    metric=['bbox', 'segm', 'boundary'],
)
test_evaluator = val_evaluator
