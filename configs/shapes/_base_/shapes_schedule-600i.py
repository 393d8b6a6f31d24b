# Copyright (c) The mmpointrend authors.
# The Shapes schedule, four times as long: what the two fully connected layers of PointRend's coarse head need to be no
# worse than four convolutions on small objects (docs/results.md).
_base_ = 'shapes_schedule.py'
max_iters = 600
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
param_scheduler = [
    dict(type='LinearLR', _scope_='mmengine', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        _scope_='mmengine',
        eta_min=0.0,
        by_epoch=False,
        begin=0,
        end=max_iters,
    ),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
