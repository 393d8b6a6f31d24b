# Copyright (c) The mmpointrend authors.
"""The detector that both mask heads start from: Faster R-CNN, MobileNetV2, FPN, one class.

Schedule: 300 iterations of 4 images, SGD 0.01 after a warm-up of 100. One thread of a shared CPU: 9 minutes.
Command: python tools/train.py configs/mini/faster-rcnn_mobilenet-v2_fpn_1xb4-300i_coco-object-256.py
"""

_base_ = './mask-rcnn_mobilenet-v2_fpn_1xb4-700i_coco-object-256.py'

load_from = None
model = dict(roi_head=dict(mask_roi_extractor=None, mask_head=None))
max_iters = 300
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100, _scope_='mmdet'),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = dict(metric=['bbox'])
test_evaluator = dict(metric=['bbox'])
