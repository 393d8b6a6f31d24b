# Copyright (c) The mmpointrend authors.
"""SemanticFPN (P3-P5) on CamVid, the baseline: bilinear upsampling from stride 8.

Schedule: 600 iterations of 4 crops, SGD 0.01, poly. One thread of a shared CPU: 22 minutes.
Measured: mIoU 42.7, boundary IoU 13.4 at 3 px, 27.3 at 12 px.
Command: python tools/train.py configs/mini/fpn-p3-p5_mobilenet-v2_1xb4-600i_camvid-256x256.py
"""

_base_ = [
    './_base_/mini_camvid_256x256.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_20k.py',
]

norm_cfg = dict(type='BN', requires_grad=True)
num_classes = 11
channels = 64

model = dict(
    type='EncoderDecoder',
    _scope_='mmseg',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=_base_.crop_size,
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

max_iters = 600
optim_wrapper = dict(
    optimizer=dict(lr=0.01, weight_decay=1e-4),
    clip_grad=dict(_delete_=True, max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100, _scope_='mmseg'),
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=1e-4,
        by_epoch=False,
        begin=100,
        end=max_iters,
        _scope_='mmseg',
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=50, max_keep_ckpts=2))
custom_hooks = [dict(type='mmpointrend.IterationSeedHook', _scope_='mmseg')]
randomness = dict(seed=0)
