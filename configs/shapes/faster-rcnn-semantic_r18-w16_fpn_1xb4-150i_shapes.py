# Copyright (c) The mmpointrend authors.
# The trunk that every other Shapes run starts from: a detector without masks and, for dense gradients from the first
# iteration, Panoptic FPN's semantic head. It is trained, not tested: the runs that start from it are.
# Hardware: two CPU cores, about a minute. Command: make demo, or tools/train.py.
_base_ = [
    '_base_/mask-rcnn_r18-w16_fpn.py',
    '_base_/shapes_instance.py',
    '_base_/shapes_schedule.py',
]
default_scope = 'mmdet'
model = dict(
    type='PanopticFPN',
    data_preprocessor=dict(pad_mask=False, pad_seg=True, seg_pad_value=255),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    semantic_head=dict(
        type='PanopticFPNHead',
        num_things_classes=0,
        num_stuff_classes=2,  # the classes of the label maps: background, object
        in_channels=48,
        inner_channels=32,
        norm_cfg=dict(type='BN', requires_grad=True),
        loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=1.0),
    ),
)
train_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmdet'),
    # The label maps are palette images, of which OpenCV would read the colours.
    dict(
        type='LoadAnnotations',
        with_bbox=True,
        with_seg=True,
        imdecode_backend='pillow',
        _scope_='mmdet',
    ),
    dict(type='RandomFlip', prob=0.5, _scope_='mmdet'),
    dict(type='PackDetInputs', _scope_='mmdet'),
]
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img='train/', seg='semantic_train/'),
        seg_map_suffix='.png',
        pipeline=train_pipeline,
    )
)
val_cfg = val_dataloader = val_evaluator = None
test_cfg = test_dataloader = test_evaluator = None
