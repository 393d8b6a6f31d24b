# Copyright (c) The mmpointrend authors.
# SemanticFPN on P2-P5, output stride 4.
# Expected: see docs/reproduction.md. Hardware: one CPU core, about a minute. Command: tools/reproduce.py 7 --mini, or tools/train.py.
_base_ = 'fpn-p3-p5_r18-w16_1xb4-150i_shapes.py'
model = dict(
    decode_head=dict(
        in_channels=[48, 48, 48, 48], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32]
    )
)
find_unused_parameters = False
