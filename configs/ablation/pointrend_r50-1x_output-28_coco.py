# PointRend R50 1x COCO, masks of 28x28.
#
# Expected: mask AP 36.1, AP* 39.2 (paper, Tables 1 and 3).
# Schedule: none; test the checkpoint of pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py.
# Command:  mim test mmpointrend pointrend_r50-1x_output-28_coco.py --checkpoint CHECKPOINT
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(test_cfg=dict(rcnn=dict(subdivision_steps=2)))
