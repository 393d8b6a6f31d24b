# Copyright (c) The mmpointrend authors.
"""Mask R-CNN with the standard 4x conv 28x28 mask head, the baseline.

Schedule: 700 iterations of 4 images, SGD 0.01, /10 at 525 and 640. One thread of a shared CPU: 36 minutes.
Measured: mask AP 2.7, Boundary AP 0.36; on ground-truth boxes mask IoU 63.8, boundary IoU 54.0 (large 32.0).
Command: python tools/train.py configs/mini/mask-rcnn_mobilenet-v2_fpn_1xb4-700i_coco-object-256.py
"""

_base_ = './faster-rcnn_mobilenet-v2_fpn_1xb4-300i_coco-object-256.py'

channels = _base_.channels
load_from = 'work_dirs/faster-rcnn_mobilenet-v2_fpn_1xb4-300i_coco-object-256/iter_300.pth'

model = dict(
    roi_head=dict(
        mask_roi_extractor=dict(
            _delete_=True,
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=channels,
            featmap_strides=[4, 8, 16, 32],
            finest_scale=28,
        ),
        mask_head=dict(
            _delete_=True,
            type='FCNMaskHead',
            num_convs=4,
            in_channels=channels,
            conv_out_channels=2 * channels,
            num_classes=1,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    )
)

max_iters = 700
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=50, _scope_='mmdet'),
    dict(type='MultiStepLR', by_epoch=False, milestones=[525, 640], gamma=0.1, _scope_='mmdet'),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
val_evaluator = dict(metric=['bbox', 'segm', 'boundary'])
test_evaluator = dict(metric=['bbox', 'segm', 'boundary'])
