# SemanticFPN with PointRend (paper, section 5 and App. B): the point head reads P2, and the coarse prediction at every
# layer; points are chosen by the margin of probabilities.
_base_ = 'fpn_r50-caffe.py'

model = dict(
    decode_head=dict(
        _delete_=True,
        type='mmpointrend.PointRendHead',
        coarse_head={{_base_.model.decode_head}},
        point_head=dict(
            in_channels=[256],
            in_index=[0],
            channels=256,
            num_fcs=3,
            coarse_pred_each_layer=True,
            loss_decode=dict(
                type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True
            ),
        ),
        uncertainty='probabilities',
    ),
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    test_cfg=dict(subdivision_steps=2, subdivision_num_points=8096, scale_factor=2),
)
