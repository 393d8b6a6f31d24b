# DeepLabV3 R103, output stride 8: never trained, the weights are those of output stride 16.
#
# Expected: mIoU 77.8 (paper, Table 6).
# Schedule: none; test the checkpoint of deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py.
# Loss:     mean over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim test mmpointrend deeplabv3_r103-d8_8xb2-90k_cityscapes-768x768.py --checkpoint CHECKPOINT
_base_ = 'deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py'

# Dilation instead of the third stage's stride, twice the rates in all that follows, multi-grid included.
model = dict(
    backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), multi_grid=(4, 8, 16)),
    decode_head=dict(dilations=(1, 12, 24, 36)),
)
