# Copyright (c) The mmpointrend authors.
# Mask R-CNN small enough to be trained from scratch on two CPU cores: ResNet-18 with 16 instead of
# 64 base channels, 48 instead of 256 in FPN and heads, few anchors, proposals and RoIs.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

num_classes = 1
model = dict(
    _scope_='mmdet',
    backbone=dict(
        depth=18,
        base_channels=16,
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(
        in_channels=[16, 32, 64, 128], out_channels=48, norm_cfg=dict(type='BN', requires_grad=True)
    ),
    rpn_head=dict(in_channels=48, feat_channels=32, anchor_generator=dict(ratios=[1.0])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=48, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(in_channels=48, fc_out_channels=256, num_classes=num_classes),
        mask_roi_extractor=dict(out_channels=48, roi_layer=dict(sampling_ratio=2)),
        mask_head=dict(in_channels=48, conv_out_channels=64, num_classes=num_classes),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=30)),
)
