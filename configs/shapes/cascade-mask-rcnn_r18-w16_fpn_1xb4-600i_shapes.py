# Copyright (c) The mmpointrend authors.
# Cascade Mask R-CNN with the standard mask head (4 convolutions, 28x28) in each stage, from the trunk's weights.
# Expected: see docs/results.md. Hardware: one CPU core, about ten minutes. Command: tools/train.py.
_base_ = [
    '_base_/cascade-mask-rcnn_r18-w16_fpn.py',
    '_base_/shapes_instance.py',
    '_base_/shapes_schedule-600i.py',
]
default_scope = 'mmdet'
load_from = (
    '{{$SHAPES_TRUNK:work_dirs/faster-rcnn-semantic_r18-w16_fpn_1xb4-150i_shapes/iter_150.pth}}'
)
