# detectron2's 1x for a semantic model: 90k iterations of 16 images.
_base_ = 'semantic_sgd-65k.py'

train_cfg = dict(max_iters=90000)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [
    dict(type='LinearLR', _scope_='mmseg', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(
        type='MultiStepLR',
        _scope_='mmseg',
        by_epoch=False,
        begin=0,
        end=90000,
        milestones=[60000, 80000],
        gamma=0.1,
    ),
]
auto_scale_lr = dict(base_batch_size=16)
