# Copyright (c) The mmpointrend authors.
# Shapes, instances: images generated at their final size by tools/dataset_converters/make_shapes.py --one-class --plain:
# so short a schedule teaches boundaries, but not what tells a gear from a star.
data_root = '{{$SHAPES_ROOT:data/shapes/}}'
metainfo = dict(classes=('object',), palette=[(255, 200, 0)])

train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, _scope_='mmdet'),
    dict(type='RandomFlip', prob=0.5, _scope_='mmdet'),
    dict(type='PackDetInputs', _scope_='mmdet'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet'),
    # Changes nothing, but says so: mmdet wants to know the scale of what it tests.
    dict(type='Resize', scale_factor=1.0, keep_ratio=True, _scope_='mmdet'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, _scope_='mmdet'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
        _scope_='mmdet',
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True, _scope_='mmdet'),
    dataset=dict(
        type='mmpointrend.ShapesInstanceDataset',
        _scope_='mmdet',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=8),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, _scope_='mmdet'),
    dataset=dict(
        type='mmpointrend.ShapesInstanceDataset',
        _scope_='mmdet',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpointrend.CocoBoundaryMetric',
    _scope_='mmdet',
    ann_file=data_root + 'annotations/instances_val.json',
    metric=['bbox', 'segm', 'boundary'],
)
test_evaluator = val_evaluator
visualizer = dict(
    type='DetLocalVisualizer',
    _scope_='mmdet',
    vis_backends=[dict(type='LocalVisBackend', _scope_='mmdet')],
    name='visualizer',
)
