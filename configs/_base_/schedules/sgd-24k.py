# Cityscapes instances (paper, App. A): 24k iterations of 8 images.
_base_ = 'sgd-90k.py'

train_cfg = dict(max_iters=24000, val_interval=4000)
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = [
    dict(type='LinearLR', _scope_='mmdet', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        _scope_='mmdet',
        by_epoch=False,
        begin=0,
        end=24000,
        milestones=[18000],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=4000))
