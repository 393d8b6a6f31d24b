# PointRend's mask branch in the place of Mask R-CNN's, as detectron2 sets it up (paper, section 4 and App. A). A model
# takes it by `model = _base_.pointrend`. Class counts, channels of features and the size of the coarse targets are left
# out: they are what the box head and its RoI extractor say.
mask_loss = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)
pointrend = dict(
    roi_head=dict(
        type='mmpointrend.PointRendRoIHead',
        # The coarse head sees P2 on a regular 14x14 grid; the point head reads P2 as well.
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
            num_fcs=2,
            conv_out_channels=256,
            fc_out_channels=1024,
            loss_mask=mask_loss,
        ),
        point_head=dict(
            type='mmpointrend.MaskPointHead',
            num_fcs=3,
            fc_channels=256,
            coarse_pred_each_layer=True,
            loss_point=mask_loss,
        ),
    ),
    train_cfg=dict(
        rcnn=dict(
            mask_size=None, num_points=14 * 14, oversample_ratio=3, importance_sample_ratio=0.75
        )
    ),
    test_cfg=dict(rcnn=dict(subdivision_steps=5, subdivision_num_points=28 * 28, scale_factor=2)),
)
del mask_loss
