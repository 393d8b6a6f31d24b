# PointRend's mask branch in the place of Mask R-CNN's, as detectron2 sets it up (paper, section 4 and App. A). A model
# takes it by `model = _base_.pointrend`. Class counts, channels and the size of the coarse targets are those that the
# box head and its RoI extractor say; heads have their classes' widths.
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
        mask_head=dict(_delete_=True, type='mmpointrend.CoarseMaskHead'),
        point_head=dict(type='mmpointrend.MaskPointHead'),
    ),
    train_cfg=dict(
        rcnn=dict(
            mask_size=None, num_points=14 * 14, oversample_ratio=3, importance_sample_ratio=0.75
        )
    ),
    test_cfg=dict(rcnn=dict(subdivision_steps=5, subdivision_num_points=28 * 28)),
)
