# Copyright (c) The mmpointrend authors.
"""Mask R-CNN with MobileNetV2 and FPN, 64 channels wide, for one class and images of 256 pixels."""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

channels = 64

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        frozen_stages=2,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMPOINTREND_SHARED:../shared}}/weights/mobilenet_v2-b0353104_mmdet.pth',
        ),
    ),
    neck=dict(in_channels=[24, 32, 96, 320], out_channels=channels),
    # Anchors of 16 to 256 pixels: as the images are a third of the usual size.
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, finest_scale=28),
        bbox_head=dict(in_channels=channels, fc_out_channels=512, num_classes=1),
        mask_roi_extractor=dict(out_channels=channels, finest_scale=28),
        mask_head=dict(in_channels=channels, conv_out_channels=2 * channels, num_classes=1),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=256),
        rcnn=dict(sampler=dict(num=128, pos_fraction=0.125)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=256)),
)
