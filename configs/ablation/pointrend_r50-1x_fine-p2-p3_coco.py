# PointRend R50 1x COCO, coarse and fine features of P2 and P3.
#
# Expected: not published; the parent reads P2 alone and reaches mask AP 36.3.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_fine-p2-p3_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(roi_head=dict(mask_roi_extractor=dict(featmap_strides=[4, 8])))
