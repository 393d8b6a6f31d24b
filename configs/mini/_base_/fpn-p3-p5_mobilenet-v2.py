# Copyright (c) The mmpointrend authors.
"""SemanticFPN on P3-P5 with MobileNetV2, 64 channels wide, for CamVid's classes."""

norm_cfg = dict(type='BN', requires_grad=True)
num_classes = 11
channels = 64

model = dict(
    type='EncoderDecoder',
    _scope_='mmseg',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(256, 256),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        frozen_stages=2,
        norm_cfg=norm_cfg,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMPOINTREND_SHARED:../shared}}/weights/mobilenet_v2-b0353104_mmseg.pth',
        ),
    ),
    neck=dict(
        type='FPN',
        in_channels=[24, 32, 96, 320],
        out_channels=channels,
        num_outs=4,
        norm_cfg=norm_cfg,
    ),
    # Both versions have P2: only the point head reads it.
    decode_head=dict(
        type='FPNHead',
        in_channels=[channels] * 3,
        in_index=[1, 2, 3],
        feature_strides=[8, 16, 32],
        channels=2 * channels,
        dropout_ratio=0.1,
        num_classes=num_classes,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
