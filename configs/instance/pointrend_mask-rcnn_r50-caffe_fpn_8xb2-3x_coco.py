# PointRend, Mask R-CNN R50-FPN, COCO 3x.
#
# Expected: mask AP 38.2, AP* 41.5 (paper, Table 5; detectron2's own 38.3 / 41.6).
# Schedule: 270k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 210k and 250k.
# Command:  mim train mmpointrend pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_mask-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/coco-instance_640-800.py',
    '../_base_/schedules/sgd-270k.py',
]
