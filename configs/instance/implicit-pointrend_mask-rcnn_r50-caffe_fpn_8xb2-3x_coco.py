# Implicit PointRend, Mask R-CNN R50-FPN, COCO 3x (detectron2's implicit_pointrend_R_50_FPN_3x_coco).
#
# Expected: unknown, detectron2 publishes neither weights nor figures of this recipe.
# Schedule: 270k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 210k and 250k.
# Command:  mim train mmpointrend implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/implicit-pointrend_mask-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco-instance_640-800.py',
    '../_base_/schedules/sgd-270k.py',
]
