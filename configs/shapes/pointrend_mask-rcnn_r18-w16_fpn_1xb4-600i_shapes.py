# Copyright (c) The mmpointrend authors.
# The same as its base but for the mask head: PointRend, 7x7 to 224x224.
# Expected: see docs/results.md. Hardware: one CPU core, about four minutes. Command: make demo, or tools/train.py.
_base_ = 'mask-rcnn_r18-w16_fpn_1xb4-600i_shapes.py'

model = dict(
    roi_head=dict(
        type='mmpointrend.PointRendRoIHead',
        mask_roi_extractor=dict(
            type='GenericRoIExtractor',
            aggregation='concat',
            roi_layer=dict(_delete_=True, type='SimpleRoIAlign', output_size=14),
            out_channels=48,
            featmap_strides=[4],
        ),
        mask_head=dict(
            _delete_=True,
            type='mmpointrend.CoarseMaskHead',
            num_fcs=2,
            in_channels=48,
            conv_out_channels=64,
            fc_out_channels=256,
            num_classes=1,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
        point_head=dict(
            type='mmpointrend.MaskPointHead',
            num_fcs=3,
            in_channels=48,
            fc_channels=128,
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
