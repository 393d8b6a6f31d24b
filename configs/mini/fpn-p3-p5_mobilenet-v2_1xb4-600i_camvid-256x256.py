# Copyright (c) The mmpointrend authors.
"""SemanticFPN (P3-P5) on CamVid, the baseline: bilinear upsampling from stride 8.

Schedule: 600 iterations of 4 crops, SGD 0.01, poly. One thread of a shared CPU: 22 minutes.
Measured: mIoU 42.7, boundary IoU 13.4 at 3 px, 27.3 at 12 px.
Command: python tools/train.py configs/mini/fpn-p3-p5_mobilenet-v2_1xb4-600i_camvid-256x256.py
"""

_base_ = [
    './_base_/fpn-p3-p5_mobilenet-v2.py',
    './_base_/mini_camvid_256x256.py',
    './_base_/mini_semantic_schedule.py',
]
