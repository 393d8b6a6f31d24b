# Implicit PointRend, Mask R-CNN R50-FPN, COCO 1x (arXiv 2104.06404; detectron2's implicit_pointrend_R_50_FPN_1x_coco).
#
# Expected: unknown, detectron2 publishes neither weights nor figures of this recipe.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k. The layer that predicts the
#           parameters has 290 million weights of its own: 1.2 GB, and as much each for gradients and momentum.
# Command:  mim train mmpointrend implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/implicit-pointrend_mask-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco-instance_640-800.py',
    '../_base_/schedules/sgd-90k.py',
]
