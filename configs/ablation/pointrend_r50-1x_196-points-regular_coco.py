# PointRend R50 1x COCO, 14x14 training points a box: a regular grid.
#
# Expected: see Table 4 of the paper; mildly biased points, the parent's, reach mask AP 36.3.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_196-points-regular_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(
    train_cfg=dict(rcnn=dict(point_selection=dict(type='mmpointrend.RegularGridSelection')))
)
