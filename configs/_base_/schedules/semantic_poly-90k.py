# DeepLabV3 (paper, App. B): 90k iterations of 16 crops, polynomial decay to 0, ten times the rate for ASPP and the
# prediction convolution. mmengine's custom keys set aside the rule for normalisations, so theirs are named too.
_base_ = 'semantic_sgd-65k.py'

train_cfg = dict(max_iters=90000)
new_layers = ['image_pool.1', *(f'aspp_modules.{branch}' for branch in range(4)), 'bottleneck']
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'conv_seg': dict(lr_mult=10),
            **{f'{layer}.conv': dict(lr_mult=10) for layer in new_layers},
            **{f'{layer}.bn': dict(lr_mult=10, decay_mult=0) for layer in new_layers},
        }
    )
)
param_scheduler = [
    dict(type='LinearLR', _scope_='mmseg', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', _scope_='mmseg', eta_min=0, power=0.9, by_epoch=False, begin=0, end=90000),
]
auto_scale_lr = dict(base_batch_size=16)
