# Mask R-CNN R50 1x COCO, standard mask head trained on predicted boxes instead of proposals.
#
# Expected: no more than the parent's mask AP 35.2 (paper, App. A).
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend mask-rcnn_r50-1x_predicted-boxes_coco.py --gpus 8 --launcher pytorch
_base_ = '../instance/mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'

model = dict(
    roi_head=dict(type='mmpointrend.StandardRoIHead'),
    train_cfg=dict(rcnn=dict(train_on_pred_boxes=True)),
)
