# Copyright (c) The mmpointrend authors.
# The same as its base but for the head: PointRend round it, fine features of P2, stride 8 to 1 in three steps.
# Expected: see docs/results.md. Hardware: two CPU cores, about a minute. Command: make demo, or tools/train.py.
_base_ = ['fpn-p3-p5_r18-w16_1xb4-150i_shapes.py', '../_base_/heads/pointrend_semantic.py']
model = _base_.pointrend
model.decode_head.coarse_head = _base_.model.decode_head
model.decode_head.point_head.update(in_channels=[48], channels=64)
model.test_cfg.subdivision_steps = 3
find_unused_parameters = False  # the point head reads P2
