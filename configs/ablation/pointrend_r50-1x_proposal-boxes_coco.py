# PointRend R50 1x COCO, mask branch trained on proposals instead of predicted boxes.
#
# Expected: 0.2 mask AP less than the parent's 36.3 (paper, App. A).
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_r50-1x_proposal-boxes_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(train_cfg=dict(rcnn=dict(train_on_pred_boxes=False)))
