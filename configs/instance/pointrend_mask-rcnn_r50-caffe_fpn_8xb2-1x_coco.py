# PointRend, Mask R-CNN R50-FPN, COCO 1x.
#
# Expected: mask AP 36.3, AP* 39.7 (paper, Tables 1, 3 and 4; detectron2's own 36.2 / 39.7).
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_mask-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco-instance_640-800.py',
    '../_base_/schedules/sgd-90k.py',
]
