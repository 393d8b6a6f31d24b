# DeepLabV3 with output stride 16 (paper, App. B): ResNet-101 with three 3x3 convolutions for a stem, no auxiliary head.
# Pixels without a label do not count in the mean of the loss, as in detectron2.
_base_ = 'mmseg::_base_/models/deeplabv3_r50-d8.py'

model = dict(
    pretrained=None,
    backbone=dict(
        depth=101,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        # Multi-grid (1, 2, 4) times the stage's rate of 2, which it replaces in mmseg.
        multi_grid=(2, 4, 8),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c'),
    ),
    decode_head=dict(channels=256, dilations=(1, 6, 12, 18), loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=None,
)
