# Copyright (c) The mmpointrend authors.
# The same as its base but for the head: PointRend round it, fine features of res2, stride 16 to 1 in four steps.
# Expected: see docs/reproduction.md. Hardware: one CPU core, about a minute. Command: tools/reproduce.py 6 --mini, or tools/train.py.
_base_ = ['deeplabv3_r18-w16-d16_1xb4-150i_shapes.py', '../_base_/heads/pointrend_semantic.py']
model = _base_.pointrend
model.decode_head.coarse_head = _base_.model.decode_head
model.decode_head.point_head.update(in_channels=[16], channels=64)
model.test_cfg.subdivision_steps = 4
