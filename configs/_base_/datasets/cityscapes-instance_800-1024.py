# Cityscapes instances: short side one of 800, 832, ..., 1024 in training, 1024 in testing. Polygons, which
# tools/dataset_converters/cityscapes_to_coco.py writes, are rasterised after resizing, as detectron2 does.
_base_ = 'mmdet::_base_/datasets/cityscapes_instance.py'

data_root = 'data/cityscapes/'
train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', _scope_='mmdet', with_bbox=True, with_mask=True, poly2mask=False),
    dict(
        type='RandomChoiceResize',
        _scope_='mmdet',
        scales=[(2048, side) for side in range(800, 1025, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', _scope_='mmdet', prob=0.5),
    dict(type='PackDetInputs', _scope_='mmdet'),
]
# Not repeated eight times, as mmdet's is for its epochs: training counts iterations.
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler', _scope_='mmdet'),
    dataset=dict(
        _delete_=True,
        type='CityscapesDataset',
        _scope_='mmdet',
        data_root=data_root,
        ann_file='annotations/instancesonly_filtered_gtFine_train.json',
        data_prefix=dict(img='leftImg8bit/train/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
        backend_args={{_base_.backend_args}},
    ),
)
# The paper's figure is Cityscapes' own AP; COCO's rules add Boundary AP.
val_evaluator = [
    dict(
        type='mmpointrend.CityscapesMetric',
        _scope_='mmdet',
        seg_prefix=data_root + 'gtFine/val',
        backend_args={{_base_.backend_args}},
    ),
    dict(
        type='mmpointrend.CocoBoundaryMetric',
        _scope_='mmdet',
        ann_file=data_root + 'annotations/instancesonly_filtered_gtFine_val.json',
        metric=['bbox', 'segm', 'boundary'],
        dilation_ratio=0.005,
        backend_args={{_base_.backend_args}},
    ),
]
test_evaluator = val_evaluator
