# PointRend R50 1x COCO, masks of 112x112.
#
# Expected: see Table 3 of the paper: mask AP 36.1 at 28x28, 36.3 at 224x224.
# Schedule: none; test the checkpoint of pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py.
# Command:  mim test mmpointrend pointrend_r50-1x_output-112_coco.py --checkpoint CHECKPOINT
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(test_cfg=dict(rcnn=dict(subdivision_steps=4)))
