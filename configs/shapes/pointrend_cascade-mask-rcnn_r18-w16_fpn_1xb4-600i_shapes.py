# Copyright (c) The mmpointrend authors.
# The same as its base but for the mask heads: PointRend, 7x7 to 224x224 from the mean of the stages' coarse masks.
# Expected: see docs/results.md. Hardware: one CPU core, about ten minutes. Command: tools/train.py.
_base_ = 'cascade-mask-rcnn_r18-w16_fpn_1xb4-600i_shapes.py'

model = dict(
    roi_head=dict(
        type='mmpointrend.CascadePointRendRoIHead',
        mask_roi_extractor=dict(
            _delete_=True,
            type='GenericRoIExtractor',
            aggregation='concat',
            roi_layer=dict(type='SimpleRoIAlign', output_size=14),
            featmap_strides=[4],
        ),
        mask_head=dict(
            _delete_=True,
            type='mmpointrend.CoarseMaskHead',
            conv_out_channels=64,
            fc_out_channels=256,
        ),
        point_head=dict(type='mmpointrend.MaskPointHead', fc_channels=128),
    ),
    train_cfg=dict(
        rcnn=[dict(stage, num_points=14 * 14, mask_size=7) for stage in _base_.model.train_cfg.rcnn]
    ),
    test_cfg=dict(rcnn=dict(subdivision_steps=5, subdivision_num_points=28 * 28)),
)
