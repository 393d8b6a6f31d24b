# detectron2's 3x: 270k iterations of 16 images.
_base_ = 'sgd-90k.py'

train_cfg = dict(max_iters=270000)
param_scheduler = [
    dict(type='LinearLR', _scope_='mmdet', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        _scope_='mmdet',
        by_epoch=False,
        begin=0,
        end=270000,
        milestones=[210000, 250000],
        gamma=0.1,
    ),
]
