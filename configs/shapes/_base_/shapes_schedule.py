# Copyright (c) The mmpointrend authors.
# What every Shapes run shares: AdamW, a short warm-up, then a cosine to zero at the last iteration.
max_iters = 150
optim_wrapper = dict(
    type='OptimWrapper',
    _scope_='mmengine',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # Adam's step does not shrink with the number of inputs, of which these have thousands.
        custom_keys={'bbox_head.shared_fcs': dict(lr_mult=0.3), 'mask_head.fcs': dict(lr_mult=0.3)},
    ),
    clip_grad=dict(max_norm=10.0, norm_type=2),
)
train_cfg = dict(
    type='IterBasedTrainLoop', _scope_='mmengine', max_iters=max_iters, val_interval=max_iters + 1
)
val_cfg = dict(type='ValLoop', _scope_='mmengine')
test_cfg = dict(type='TestLoop', _scope_='mmengine')
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
default_hooks = dict(
    timer=dict(type='IterTimerHook', _scope_='mmengine'),
    logger=dict(type='LoggerHook', _scope_='mmengine', interval=20),
    param_scheduler=dict(type='ParamSchedulerHook', _scope_='mmengine'),
    checkpoint=dict(
        type='CheckpointHook',
        _scope_='mmengine',
        by_epoch=False,
        interval=max_iters,
        save_optimizer=False,
    ),
    sampler_seed=dict(type='DistSamplerSeedHook', _scope_='mmengine'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_processor = dict(by_epoch=False)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
