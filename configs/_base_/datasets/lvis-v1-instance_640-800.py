# LVIS v1, images repeated by the rarity of their classes, as mmdet has it, but for polygons, which are rasterised after
# resizing: short side one of 640, 672, ..., 800 in training, 800 in testing.
_base_ = 'mmdet::_base_/datasets/lvis_v1_instance.py'

train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', _scope_='mmdet', with_bbox=True, with_mask=True, poly2mask=False),
    dict(
        type='RandomChoiceResize',
        _scope_='mmdet',
        scales=[(1333, side) for side in range(640, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', _scope_='mmdet', prob=0.5),
    dict(type='PackDetInputs', _scope_='mmdet'),
]
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler', _scope_='mmdet'),
    dataset=dict(dataset=dict(pipeline=train_pipeline)),
)
# mmdet's own evaluator needs a release of lvis that runs with numpy 1 only.
val_evaluator = dict(type='mmpointrend.LVISMetric')
test_evaluator = val_evaluator
