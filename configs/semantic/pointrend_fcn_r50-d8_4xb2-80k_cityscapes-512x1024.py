# PointRend, FCN R50, output stride 8, Cityscapes: mmseg's recipe of FCN, with PointRend round its head.
#
# Expected: not published; mmseg's FCN without PointRend has mIoU 73.61.
# Schedule: 80k iterations of 8 crops of 512x1024 (4 GPUs x 2), rate 0.01, polynomial decay.
# Command:  mim train mmpointrend pointrend_fcn_r50-d8_4xb2-80k_cityscapes-512x1024.py --gpus 4 --launcher pytorch
_base_ = [
    'mmseg::_base_/models/fcn_r50-d8.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_80k.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    decode_head=dict(
        _delete_=True,
        type='mmpointrend.PointRendHead',
        coarse_head={{_base_.model.decode_head}},
        # The fine features are those of the first stage, res2.
        point_head=dict(
            in_channels=[256],
            in_index=[0],
            channels=256,
            num_fcs=3,
            coarse_pred_each_layer=True,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        ),
        uncertainty='probabilities',
    ),
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    # From stride 8 to 1.
    test_cfg=dict(subdivision_steps=3, subdivision_num_points=8096, scale_factor=2),
)
