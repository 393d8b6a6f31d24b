# Copyright (c) The mmpointrend authors.
"""Mask R-CNN with the standard 4x conv 28x28 mask head, the baseline.

Schedule: 700 iterations of 4 images, SGD 0.01, /10 at 525 and 640. One thread of a shared CPU: 36 minutes.
Measured: mask AP 2.7, Boundary AP 0.36; on ground-truth boxes mask IoU 63.8, boundary IoU 54.0 (large 32.0).
Command: python tools/train.py configs/mini/mask-rcnn_mobilenet-v2_fpn_1xb4-700i_coco-object-256.py
"""

_base_ = [
    './_base_/mask-rcnn_mobilenet-v2_fpn.py',
    './_base_/mini_coco_object_256.py',
    './_base_/mini_instance_schedule.py',
]
load_from = 'work_dirs/faster-rcnn_mobilenet-v2_fpn_1xb4-300i_coco-object-256/iter_300.pth'
