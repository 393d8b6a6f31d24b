# Copyright (c) The mmpointrend authors.
"""The detector that both mask heads start from: Faster R-CNN, MobileNetV2, FPN, one class.

Schedule: 300 iterations of 4 images, SGD 0.01 after a warm-up of 100. One thread of a shared CPU: 9 minutes.
Command: python tools/train.py configs/mini/faster-rcnn_mobilenet-v2_fpn_1xb4-300i_coco-object-256.py
"""

_base_ = [
    './_base_/mini_coco_object_256.py',
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]

channels = 64

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        frozen_stages=2,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMPOINTREND_SHARED:../shared}}/weights/mobilenet_v2-b0353104_mmdet.pth',
        ),
    ),
    neck=dict(in_channels=[24, 32, 96, 320], out_channels=channels),
    # Anchors of 16 to 256 pixels: as the images are a third of the usual size.
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, finest_scale=28),
        bbox_head=dict(in_channels=channels, fc_out_channels=512, num_classes=1),
        mask_roi_extractor=None,
        mask_head=None,
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=256),
        rcnn=dict(sampler=dict(num=128, pos_fraction=0.125)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=256)),
)

max_iters = 300
optim_wrapper = dict(optimizer=dict(lr=0.01), clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100, _scope_='mmdet'),
]
train_cfg = dict(
    _delete_=True,
    type='IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=max_iters,
    _scope_='mmdet',
)
val_evaluator = dict(metric=['bbox'])
test_evaluator = dict(metric=['bbox'])
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=50, max_keep_ckpts=2))
custom_hooks = [dict(type='mmpointrend.IterationSeedHook', _scope_='mmdet')]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
