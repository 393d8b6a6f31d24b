# PointRend, DeepLabV3 R103, output stride 16, Cityscapes.
#
# Expected: mIoU 78.4 (paper, Table 6).
# Schedule: 90k iterations of 16 crops of 768x768 (8 GPUs x 2), rate 0.01, polynomial decay.
# Losses:   means over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend pointrend_deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py --gpus 8 --launcher pytorch
_base_ = 'deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py'

model = dict(
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
            loss_decode=dict(
                type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True
            ),
        ),
        uncertainty='probabilities',
    ),
    # As many points as the coarse map of a crop has pixels.
    train_cfg=dict(num_points=48 * 48, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(subdivision_steps=4, subdivision_num_points=8096, scale_factor=2),
)
