# Run time, and detectron2's 1x: 90k iterations of 16 images, warm-up over 1000 of them from a thousandth of the rate.
_base_ = 'mmdet::_base_/default_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', _scope_='mmdet', max_iters=90000, val_interval=10000)
val_cfg = dict(type='ValLoop', _scope_='mmdet')
test_cfg = dict(type='TestLoop', _scope_='mmdet')
optim_wrapper = dict(
    type='OptimWrapper',
    _scope_='mmdet',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
    paramwise_cfg=dict(norm_decay_mult=0),
)
param_scheduler = [
    dict(type='LinearLR', _scope_='mmdet', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        _scope_='mmdet',
        by_epoch=False,
        begin=0,
        end=90000,
        milestones=[60000, 80000],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(
    logger=dict(type='LoggerHook', _scope_='mmdet', interval=50),
    checkpoint=dict(
        type='CheckpointHook', _scope_='mmdet', by_epoch=False, interval=10000, max_keep_ckpts=3
    ),
)
log_processor = dict(type='LogProcessor', _scope_='mmdet', window_size=50, by_epoch=False)
