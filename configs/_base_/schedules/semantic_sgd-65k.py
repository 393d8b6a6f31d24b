# Run time of a semantic model, and detectron2's schedule for Cityscapes: 65k iterations of 32 crops, warm-up over 1000
# of them from a thousandth of the rate.
_base_ = 'mmseg::_base_/default_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', _scope_='mmseg', max_iters=65000, val_interval=5000)
val_cfg = dict(type='ValLoop', _scope_='mmseg')
test_cfg = dict(type='TestLoop', _scope_='mmseg')
optim_wrapper = dict(
    type='OptimWrapper',
    _scope_='mmseg',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001),
    paramwise_cfg=dict(norm_decay_mult=0),
)
param_scheduler = [
    dict(type='LinearLR', _scope_='mmseg', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        _scope_='mmseg',
        by_epoch=False,
        begin=0,
        end=65000,
        milestones=[40000, 55000],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
default_hooks = dict(
    timer=dict(type='IterTimerHook', _scope_='mmseg'),
    logger=dict(type='LoggerHook', _scope_='mmseg', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook', _scope_='mmseg'),
    checkpoint=dict(
        type='CheckpointHook', _scope_='mmseg', by_epoch=False, interval=5000, max_keep_ckpts=3
    ),
    sampler_seed=dict(type='DistSamplerSeedHook', _scope_='mmseg'),
    visualization=dict(type='SegVisualizationHook', _scope_='mmseg'),
)
