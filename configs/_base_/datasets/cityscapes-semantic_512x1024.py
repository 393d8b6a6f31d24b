# Cityscapes, crops of 512x1024 (paper, App. B, SemanticFPN): short side one of 512, 544, ..., 2048, which is 0.5 to 2
# times the image's, crops anew while one class fills more than three quarters, colour augmentation. Tested on whole
# images of 1024x2048.
_base_ = 'mmseg::_base_/datasets/cityscapes.py'

crop_size = (512, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmseg'),
    dict(type='LoadAnnotations', _scope_='mmseg'),
    dict(
        type='RandomChoiceResize',
        _scope_='mmseg',
        scales=[(4096, side) for side in range(512, 2049, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomCrop', _scope_='mmseg', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', _scope_='mmseg', prob=0.5),
    dict(type='PhotoMetricDistortion', _scope_='mmseg'),
    dict(type='PackSegInputs', _scope_='mmseg'),
]
train_dataloader = dict(batch_size=4, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_evaluator = [
    dict(type='IoUMetric', _scope_='mmseg', iou_metrics=['mIoU']),
    dict(type='mmpointrend.BoundaryIoUMetric', _scope_='mmseg', dilation_ratio=0.005),
]
test_evaluator = val_evaluator
