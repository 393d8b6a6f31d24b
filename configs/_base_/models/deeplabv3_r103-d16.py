# DeepLabV3 with output stride 16 (paper, App. B): ResNet-101 with three 3x3 convolutions for a stem, no auxiliary head.
_base_ = 'mmseg::_base_/models/deeplabv3_r50-d8.py'

model = dict(
    pretrained=None,
    backbone=dict(
        depth=101,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
    ),
    decode_head=dict(channels=256, dilations=(1, 6, 12, 18)),
    auxiliary_head=None,
)
