# Copyright (c) The mmpointrend authors.
# Output stride 8 for the checkpoint of output stride 16, which is only tested so: the last two stages dilated, the rates
# of the ASPP doubled.
# Expected: see docs/reproduction.md. Command: tools/reproduce.py 6 --mini, or tools/test.py with the d16 checkpoint.
_base_ = 'deeplabv3_r18-w16-d16_1xb4-150i_shapes.py'
model = dict(
    backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    decode_head=dict(dilations=(1, 6, 12, 18)),
)
train_cfg = train_dataloader = optim_wrapper = param_scheduler = None
