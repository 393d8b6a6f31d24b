# Mask R-CNN R50-FPN with the standard mask head (4 convolutions, 28x28), as detectron2 sets it up and initialises it
# (paper, App. A).
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(
        norm_cfg=dict(requires_grad=False),
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
    neck=dict(init_cfg=dict(type='Caffe2Xavier', layer='Conv2d')),
    roi_head=dict(
        bbox_head=dict(
            init_cfg=[
                dict(type='Normal', std=0.01, override=dict(name='fc_cls')),
                dict(type='Normal', std=0.001, override=dict(name='fc_reg')),
                dict(type='Caffe2Xavier', override=dict(name='shared_fcs')),
            ]
        ),
        mask_head=dict(type='mmpointrend.FCNMaskHead'),
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)
