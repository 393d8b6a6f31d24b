# Copyright (c) The mmpointrend authors.
# The same as its base but for the mask head: PointRend, 7x7 to 224x224.
# Expected: see docs/results.md. Hardware: one CPU core, about four minutes. Command: make demo, or tools/train.py.
_base_ = ['mask-rcnn_r18-w16_fpn_1xb4-600i_shapes.py', '../_base_/heads/pointrend.py']

model = _base_.pointrend
model.roi_head.mask_head.update(conv_out_channels=64, fc_out_channels=256)
model.roi_head.point_head.fc_channels = 128
