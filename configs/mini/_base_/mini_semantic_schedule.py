# Copyright (c) The mmpointrend authors.
"""SGD by 600 iterations, polynomial decay."""

_base_ = ['mmseg::_base_/default_runtime.py', 'mmseg::_base_/schedules/schedule_20k.py']

max_iters = 600
optim_wrapper = dict(
    optimizer=dict(lr=0.01, weight_decay=1e-4),
    clip_grad=dict(_delete_=True, max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100, _scope_='mmseg'),
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=1e-4,
        by_epoch=False,
        begin=100,
        end=max_iters,
        _scope_='mmseg',
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=2))
custom_hooks = [dict(type='mmpointrend.IterationSeedHook', _scope_='mmseg')]
randomness = dict(seed=0)
