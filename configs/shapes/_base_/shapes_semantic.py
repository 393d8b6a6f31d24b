# Copyright (c) The mmpointrend authors.
# Shapes, semantic maps: images generated at their final size by tools/dataset_converters/make_shapes.py --one-class --plain:
# so short a schedule teaches boundaries, but not what tells a gear from a star.
data_root = '{{$SHAPES_ROOT:data/shapes/}}'
metainfo = dict(classes=('background', 'object'), palette=[(32, 32, 32), (255, 200, 0)])

train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(type='RandomFlip', prob=0.5, _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True, _scope_='mmseg'),
    dataset=dict(
        type='mmpointrend.ShapesSemanticDataset',
        _scope_='mmseg',
        metainfo=metainfo,
        data_root=data_root,
        data_prefix=dict(img_path='train', seg_map_path='semantic_train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False, _scope_='mmseg'),
    dataset=dict(
        type='mmpointrend.ShapesSemanticDataset',
        _scope_='mmseg',
        metainfo=metainfo,
        data_root=data_root,
        data_prefix=dict(img_path='val', seg_map_path='semantic_val'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
# The boundary at two widths: 2 % of the diagonal as for COCO, 9 pixels of 320; 0.5 % as for Cityscapes, 2 pixels.
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU'], _scope_='mmseg'),
    dict(type='mmpointrend.BoundaryIoUMetric', prefix='wide', _scope_='mmseg'),
    dict(
        type='mmpointrend.BoundaryIoUMetric', dilation_ratio=0.005, prefix='narrow', _scope_='mmseg'
    ),
]
test_evaluator = val_evaluator
visualizer = dict(
    type='SegLocalVisualizer',
    _scope_='mmseg',
    vis_backends=[dict(type='LocalVisBackend', _scope_='mmseg')],
    name='visualizer',
)
