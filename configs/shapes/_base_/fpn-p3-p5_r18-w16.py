# Copyright (c) The mmpointrend authors.
# SemanticFPN on P3-P5 (output stride 8, the paper's Table 9), on the same small backbone and neck as the Shapes detectors.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

model = dict(
    _scope_='mmseg',
    data_preprocessor=dict(size_divisor=32),
    pretrained=None,
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
    neck=dict(
        in_channels=[16, 32, 64, 128], out_channels=48, norm_cfg=dict(type='BN', requires_grad=True)
    ),
    decode_head=dict(
        in_channels=[48, 48, 48],
        in_index=[1, 2, 3],
        feature_strides=[8, 16, 32],
        channels=64,
        dropout_ratio=0,
        num_classes=2,
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
)
