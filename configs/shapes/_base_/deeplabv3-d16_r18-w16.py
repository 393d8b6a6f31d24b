# Copyright (c) The mmpointrend authors.
# DeepLabV3 at output stride 16 (the paper's Table 6), on the same small backbone as the Shapes detectors. The rates of
# the ASPP are halved with the maps: 20x20 cells of a picture here where the paper's crops have 48x48.
_base_ = 'mmseg::_base_/models/deeplabv3_r50-d8.py'

norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    _scope_='mmseg',
    data_preprocessor=dict(size_divisor=32),
    pretrained=None,
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        in_channels=128,
        channels=64,
        dilations=(1, 3, 6, 9),
        dropout_ratio=0,
        num_classes=2,
        norm_cfg=norm_cfg,
    ),
    auxiliary_head=None,
)
