# PointRend R50 1x COCO, masks of 224x224.
#
# Expected: mask AP 36.3, AP* 39.7 (paper, Table 3); these are the settings of the parent.
# Schedule: none; test the checkpoint of pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py.
# Command:  mim test mmpointrend pointrend_r50-1x_output-224_coco.py --checkpoint CHECKPOINT
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(test_cfg=dict(rcnn=dict(subdivision_steps=5)))
