# Mask R-CNN R50-FPN with Implicit PointRend, as detectron2 sets it up (arXiv 2104.06404).
_base_ = './pointrend_mask-rcnn_r50-caffe_fpn.py'

model = dict(
    roi_head=dict(
        type='mmpointrend.ImplicitPointRendRoIHead',
        # The coarse head's layers, with the parameters of the point head's MLP in the place of a mask.
        mask_head=dict(
            _delete_=True,
            type='mmpointrend.ParameterHead',
            num_fcs=2,
            conv_out_channels=256,
            fc_out_channels=1024,
            l2_weight=1e-5,
        ),
        point_head=dict(
            _delete_=True, type='mmpointrend.ImplicitPointHead', num_fcs=3, fc_channels=256
        ),
    ),
    train_cfg=dict(
        rcnn=dict(point_selection=dict(type='UniformSelection'), train_on_pred_boxes=False)
    ),
    # From a predicted grid of 28x28 to 224x224.
    test_cfg=dict(rcnn=dict(subdivision_steps=3)),
)
