# PointRend round a segmentor's decode head (paper, section 5 and App. B). A model takes it by `model = _base_.pointrend`
# and gives it its own head: `model.decode_head.coarse_head = _base_.model.decode_head`. Fine features are those of the
# first level, in 256 channels; steps are for a coarse prediction of stride 4.
pointrend = dict(
    decode_head=dict(
        _delete_=True,
        type='mmpointrend.PointRendHead',
        point_head=dict(
            in_channels=[256],
            in_index=[0],
            channels=256,
            num_fcs=3,
            coarse_pred_each_layer=True,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(subdivision_steps=2, subdivision_num_points=8096, scale_factor=2),
)
