# SemanticFPN with PointRend as detectron2 sets it up, for its published weights: the coarse prediction enters the first
# layer alone, points are chosen by the margin of logits, 8192 of them a step.
_base_ = 'pointrend_fpn_r50-caffe.py'

model = dict(
    decode_head=dict(point_head=dict(coarse_pred_each_layer=False), uncertainty='logits'),
    test_cfg=dict(subdivision_num_points=8192),
)
