# PointRend R50 1x COCO, one mask for all classes, of the coarse and of the point head.
#
# Expected: not published; the parent reaches mask AP 36.3.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_class-agnostic_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

# detectron2's CLS_AGNOSTIC_MASK is the point head's flag alone.
model = dict(
    roi_head=dict(mask_head=dict(class_agnostic=True), point_head=dict(class_agnostic=True))
)
