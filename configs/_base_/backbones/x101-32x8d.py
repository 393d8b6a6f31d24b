# ResNeXt-101 32x8d with detectron2's ImageNet weights: pytorch style, and unlike the caffe ones they expect a standard
# deviation. A config takes both into its model as {{_base_.x101_...}}.
x101_data_preprocessor = dict(std=[57.375, 57.12, 58.395])
x101_backbone = dict(
    type='ResNeXt',
    _scope_='mmdet',
    depth=101,
    groups=32,
    base_width=8,
    style='pytorch',
    init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnext101_32x8d'),
)
