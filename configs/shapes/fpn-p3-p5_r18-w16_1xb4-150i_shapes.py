# Copyright (c) The mmpointrend authors.
# SemanticFPN, output stride 8, from the trunk's backbone and neck.
# Expected: see docs/results.md. Hardware: two CPU cores, about a minute. Command: make demo, or tools/train.py.
_base_ = ['_base_/fpn-p3-p5_r18-w16.py', '_base_/shapes_semantic.py', '_base_/shapes_schedule.py']
default_scope = 'mmseg'
trunk = '{{$SHAPES_TRUNK:work_dirs/faster-rcnn-semantic_r18-w16_fpn_1xb4-150i_shapes/iter_150.pth}}'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=trunk, prefix='backbone.')),
    neck=dict(init_cfg=dict(type='Pretrained', checkpoint=trunk, prefix='neck.')),
)
# The FPN's convolutions of P2 are nobody's here; distributed training wants to know.
find_unused_parameters = True
