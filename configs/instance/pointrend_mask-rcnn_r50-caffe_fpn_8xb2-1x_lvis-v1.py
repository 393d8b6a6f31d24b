# PointRend, Mask R-CNN R50-FPN, LVIS v1 with 1203 classes.
#
# Expected: not published.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Command:  mim train mmpointrend pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_lvis-v1.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_mask-rcnn_r50-caffe_fpn.py',
    '../_base_/datasets/lvis-v1-instance_640-800.py',
    '../_base_/schedules/sgd-90k.py',
]

model = dict(
    roi_head=dict(bbox_head=dict(num_classes=1203)),
    # LVIS counts up to 300 detections an image, and rare classes score low.
    test_cfg=dict(rcnn=dict(score_thr=0.0001, max_per_img=300)),
)
