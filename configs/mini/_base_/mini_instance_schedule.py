# Copyright (c) The mmpointrend authors.
"""SGD by iterations, 700 of them, with a drop at 525 and one at 640."""

_base_ = ['mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']

max_iters = 700
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=50, _scope_='mmdet'),
    dict(type='MultiStepLR', by_epoch=False, milestones=[525, 640], gamma=0.1, _scope_='mmdet'),
]
train_cfg = dict(
    _delete_=True,
    type='IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=max_iters,
    _scope_='mmdet',
)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=50, max_keep_ckpts=2))
custom_hooks = [dict(type='mmpointrend.IterationSeedHook', _scope_='mmdet')]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
