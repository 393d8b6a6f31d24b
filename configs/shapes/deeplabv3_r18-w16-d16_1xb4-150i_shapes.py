# Copyright (c) The mmpointrend authors.
# DeepLabV3, output stride 16, from the trunk's backbone.
# Expected: see docs/reproduction.md. Hardware: one CPU core, about a minute. Command: tools/reproduce.py 6 --mini, or tools/train.py.
_base_ = [
    '_base_/deeplabv3-d16_r18-w16.py',
    '_base_/shapes_semantic.py',
    '_base_/shapes_schedule.py',
]
default_scope = 'mmseg'
trunk = '{{$SHAPES_TRUNK:work_dirs/faster-rcnn-semantic_r18-w16_fpn_1xb4-150i_shapes/iter_150.pth}}'
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=trunk, prefix='backbone.')))
