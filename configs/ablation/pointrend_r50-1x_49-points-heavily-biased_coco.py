# PointRend R50 1x COCO, 49 training points a box: heavily biased (k=10, beta=1).
#
# Expected: not published; the paper's text remarks on 49 points, its Table 4 has 14x14.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_49-points-heavily-biased_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(
    train_cfg=dict(rcnn=dict(num_points=49, oversample_ratio=10, importance_sample_ratio=1.0))
)
