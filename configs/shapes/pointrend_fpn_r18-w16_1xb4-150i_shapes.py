# Copyright (c) The mmpointrend authors.
# PointRend round SemanticFPN on P2-P5: fine features of P2, stride 4 to 1 in two steps.
# Expected: see docs/reproduction.md. Hardware: one CPU core, about a minute. Command: tools/reproduce.py 7 --mini, or tools/train.py.
_base_ = 'pointrend_fpn-p3-p5_r18-w16_1xb4-150i_shapes.py'
model = dict(
    decode_head=dict(
        coarse_head=dict(
            in_channels=[48, 48, 48, 48], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32]
        )
    ),
    test_cfg=dict(subdivision_steps=2),
)
