# PointRend R50 1x COCO, at most 56x56 points a subdivision step.
#
# Expected: see Table 3 of the paper: mask AP 36.3 at 28x28 points.
# Schedule: none; test the checkpoint of pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py.
# Command:  mim test mmpointrend pointrend_r50-1x_n-56x56_coco.py --checkpoint CHECKPOINT
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(test_cfg=dict(rcnn=dict(subdivision_num_points=56 * 56)))
