# PointRend R50 1x COCO, point head of 2 hidden layers of 256.
#
# Expected: not published; the parent has 3 x 256 and reaches mask AP 36.3.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_mlp-2x256_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(roi_head=dict(point_head=dict(num_fcs=2)))
