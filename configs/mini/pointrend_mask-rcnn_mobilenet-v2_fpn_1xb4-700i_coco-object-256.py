# Copyright (c) The mmpointrend authors.
"""The same Mask R-CNN with PointRend's coarse mask head and point head.

One thread of a shared CPU: 31 minutes.
Measured: mask AP 3.3, Boundary AP 0.75; on ground-truth boxes mask IoU 63.1, boundary IoU 53.5 (large 37.4).
Command: python tools/train.py configs/mini/pointrend_mask-rcnn_mobilenet-v2_fpn_1xb4-700i_coco-object-256.py
"""

_base_ = './mask-rcnn_mobilenet-v2_fpn_1xb4-700i_coco-object-256.py'

channels = _base_.channels

model = dict(
    roi_head=dict(
        type='mmpointrend.PointRendRoIHead',
        mask_roi_extractor=dict(
            _delete_=True,
            type='GenericRoIExtractor',
            aggregation='concat',
            roi_layer=dict(type='SimpleRoIAlign', output_size=14),
            out_channels=channels,
            featmap_strides=[4],
        ),
        mask_head=dict(
            _delete_=True,
            type='mmpointrend.CoarseMaskHead',
            num_fcs=2,
            in_channels=channels,
            conv_out_channels=2 * channels,
            fc_out_channels=512,
            num_classes=1,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
        point_head=dict(
            type='mmpointrend.MaskPointHead',
            num_fcs=3,
            in_channels=channels,
            fc_channels=2 * channels,
            num_classes=1,
            coarse_pred_each_layer=True,
            loss_point=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rcnn=dict(mask_size=7, num_points=14 * 14, oversample_ratio=3, importance_sample_ratio=0.75)
    ),
    test_cfg=dict(rcnn=dict(subdivision_steps=5, subdivision_num_points=28 * 28, scale_factor=2)),
)
