# PointRend, SemanticFPN R50, Cityscapes: mmseg's own recipe.
#
# Expected: mIoU 76.47 (mmseg's published checkpoint of the same recipe).
# Schedule: 80k iterations of 8 crops of 512x1024 (4 GPUs x 2), rate 0.01, polynomial decay.
# Command:  mim train mmpointrend pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024.py --gpus 4 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_fpn_r50.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_80k.py',
]

model = dict(data_preprocessor=dict(size=(512, 1024)))
param_scheduler = [
    dict(type='LinearLR', _scope_='mmseg', by_epoch=False, start_factor=0.1, begin=0, end=200),
    dict(
        type='PolyLR',
        _scope_='mmseg',
        by_epoch=False,
        eta_min=1e-4,
        power=0.9,
        begin=200,
        end=80000,
    ),
]
