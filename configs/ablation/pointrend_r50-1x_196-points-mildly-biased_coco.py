# PointRend R50 1x COCO, 14x14 training points a box: mildly biased (k=3, beta=0.75).
#
# Expected: mask AP 36.3, AP* 39.7 (paper, Tables 1 and 4); these are the settings of the parent.
# Schedule: none; test the checkpoint of pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py.
# Command:  mim test mmpointrend pointrend_r50-1x_196-points-mildly-biased_coco.py --checkpoint CHECKPOINT
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(
    train_cfg=dict(rcnn=dict(num_points=196, oversample_ratio=3, importance_sample_ratio=0.75))
)
