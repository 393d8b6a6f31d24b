# PointRend R50 1x COCO, 28x28 training points a box.
#
# Expected: not published; the parent has 14x14 and reaches mask AP 36.3.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_784-points_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(train_cfg=dict(rcnn=dict(num_points=28 * 28)))
