# COCO 2017 with 53 stuff classes and all things as class 0, as detectron2 has it. The label maps come from the panoptic
# annotations by tools/dataset_converters/coco_panoptic_to_stuff.py. Whole images, short side one of 640, 672, ..., 800.
data_root = 'data/coco/'

train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(
        type='RandomChoiceResize',
        _scope_='mmseg',
        scales=[(1333, side) for side in range(640, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', _scope_='mmseg', prob=0.5),
    dict(type='PackSegInputs', _scope_='mmseg'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='Resize', _scope_='mmseg', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', _scope_='mmseg', shuffle=True),
    dataset=dict(
        type='mmpointrend.CocoPanopticStuffDataset',
        _scope_='mmseg',
        data_root=data_root,
        data_prefix=dict(img_path='train2017', seg_map_path='panoptic_stuff_train2017'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', _scope_='mmseg', shuffle=False),
    dataset=dict(
        type='mmpointrend.CocoPanopticStuffDataset',
        _scope_='mmseg',
        data_root=data_root,
        data_prefix=dict(img_path='val2017', seg_map_path='panoptic_stuff_val2017'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='IoUMetric', _scope_='mmseg', iou_metrics=['mIoU']),
    dict(type='mmpointrend.BoundaryIoUMetric', _scope_='mmseg', dilation_ratio=0.02),
]
test_evaluator = val_evaluator
