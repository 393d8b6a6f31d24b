# Mask R-CNN R50-FPN, Cityscapes.
#
# Expected: mask AP 33.0 (paper, Table 1).
# Schedule: 24k iterations of 8 images (8 GPUs x 1), rate 0.01, drop at 18k.
# Command:  mim train mmpointrend mask-rcnn_r50-caffe_fpn_8xb1-24k_cityscapes.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/mask-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/cityscapes-instance_800-1024.py',
    '../_base_/schedules/sgd-24k.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8)))
