# PointRend, Mask R-CNN R101-FPN, COCO 3x.
#
# Expected: mask AP 39.8, AP* 43.5 (paper, Table 5; detectron2's own 40.1 / 43.8).
# Schedule: 270k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 210k and 250k.
# Command:  mim train mmpointrend pointrend_mask-rcnn_r101-caffe_fpn_8xb2-3x_coco.py --gpus 8 --launcher pytorch
_base_ = 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco.py'

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe'))
)
