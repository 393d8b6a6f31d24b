# SemanticFPN as detectron2 sets it up (paper, App. B): all of the backbone trained but its frozen normalisations, an FPN
# without any, GroupNorm in the head, its initialisation. Pixels without a label do not count in the mean of the loss.
_base_ = 'mmseg::_base_/models/fpn_r50.py'

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    pretrained=None,
    backbone=dict(
        type='ResNet',
        frozen_stages=-1,
        norm_cfg=dict(_delete_=True, type='BN', requires_grad=False),
        norm_eval=True,
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet50_caffe'),
    ),
    neck=dict(init_cfg=dict(type='Caffe2Xavier', layer='Conv2d')),
    decode_head=dict(
        norm_cfg=dict(_delete_=True, type='GN', num_groups=32, requires_grad=True),
        dropout_ratio=0,
        init_cfg=dict(
            type='Kaiming',
            mode='fan_out',
            nonlinearity='relu',
            override=dict(name='conv_seg'),
        ),
        loss_decode=dict(avg_non_ignore=True),
    ),
)
