# SemanticFPN R101 on P3-P5, output stride 8, Cityscapes.
#
# Expected: mIoU 77.4 (paper, Table 7).
# Schedule: 65k iterations of 32 crops of 512x1024 (8 GPUs x 4), rate 0.01, drops at 40k and 55k.
# Loss:     mean over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend fpn-p3-p5_r101-caffe_8xb4-65k_cityscapes-512x1024.py --gpus 8 --launcher pytorch
_base_ = 'fpn_r101-caffe_8xb4-65k_cityscapes-512x1024.py'

# P2 is made, as for PointRend, and left unused: its convolutions get no gradient.
model = dict(
    decode_head=dict(in_channels=[256] * 3, in_index=[1, 2, 3], feature_strides=[8, 16, 32])
)
find_unused_parameters = True
