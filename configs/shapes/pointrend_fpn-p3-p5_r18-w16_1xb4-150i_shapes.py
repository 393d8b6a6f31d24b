# Copyright (c) The mmpointrend authors.
# The same as its base but for the head: PointRend round it, fine features of P2, stride 8 to 1 in three steps.
# Expected: see docs/results.md. Hardware: two CPU cores, about a minute. Command: make demo, or tools/train.py.
_base_ = 'fpn-p3-p5_r18-w16_1xb4-150i_shapes.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='mmpointrend.PointRendHead',
        coarse_head={{_base_.model.decode_head}},
        point_head=dict(
            in_channels=[48],
            in_index=[0],
            channels=64,
            num_fcs=3,
            coarse_pred_each_layer=True,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(subdivision_steps=3, subdivision_num_points=8096, scale_factor=2),
)
find_unused_parameters = False  # the point head reads P2
