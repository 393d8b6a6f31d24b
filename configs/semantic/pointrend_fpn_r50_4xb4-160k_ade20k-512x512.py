# PointRend, SemanticFPN R50, ADE20K: mmseg's own recipe.
#
# Expected: mIoU 37.64 (mmseg's published checkpoint of the same recipe).
# Schedule: 160k iterations of 16 crops of 512x512 (4 GPUs x 4), rate 0.01, polynomial decay.
# Command:  mim train mmpointrend pointrend_fpn_r50_4xb4-160k_ade20k-512x512.py --gpus 4 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_fpn_r50.py',
    'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_160k.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 512)), decode_head=dict(coarse_head=dict(num_classes=150))
)
param_scheduler = [
    dict(type='LinearLR', _scope_='mmseg', by_epoch=False, start_factor=0.1, begin=0, end=200),
    dict(
        type='PolyLR',
        _scope_='mmseg',
        by_epoch=False,
        eta_min=1e-4,
        power=0.9,
        begin=200,
        end=160000,
    ),
]
