# Copyright (c) The mmpointrend authors.
# The same as its base but for the head: PointRend round it, fine features of res2, stride 16 to 1 in four steps.
# Expected: see docs/reproduction.md. Hardware: one CPU core, about a minute. Command: tools/reproduce.py 6 --mini, or tools/train.py.
_base_ = 'deeplabv3_r18-w16-d16_1xb4-150i_shapes.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='mmpointrend.PointRendHead',
        coarse_head={{_base_.model.decode_head}},
        point_head=dict(
            in_channels=[16],
            in_index=[0],
            channels=64,
            num_fcs=3,
            coarse_pred_each_layer=True,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(subdivision_steps=4, subdivision_num_points=8096, scale_factor=2),
)
