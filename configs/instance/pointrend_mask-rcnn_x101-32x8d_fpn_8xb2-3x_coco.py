# PointRend, Mask R-CNN X101-32x8d-FPN, COCO 3x.
#
# Expected: mask AP 40.9, AP* 44.9 (paper, Table 5; detectron2's own 41.1 / 44.7).
# Schedule: 270k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 210k and 250k.
# Command:  mim train mmpointrend pointrend_mask-rcnn_x101-32x8d_fpn_8xb2-3x_coco.py --gpus 8 --launcher pytorch
_base_ = [
    'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco.py',
    '../_base_/backbones/x101-32x8d.py',
]

model = dict(data_preprocessor={{_base_.x101_data_preprocessor}}, backbone={{_base_.x101_backbone}})
