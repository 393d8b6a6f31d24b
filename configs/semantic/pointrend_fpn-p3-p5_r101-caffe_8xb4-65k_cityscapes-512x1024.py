# PointRend, SemanticFPN R101 on P3-P5, output stride 8, Cityscapes.
#
# Expected: mIoU 78.5 (paper, Table 7).
# Schedule: 65k iterations of 32 crops of 512x1024 (8 GPUs x 4), rate 0.01, drops at 40k and 55k.
# Losses:   means over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend pointrend_fpn-p3-p5_r101-caffe_8xb4-65k_cityscapes-512x1024.py --gpus 8 --launcher pytorch
_base_ = 'pointrend_fpn_r101-caffe_8xb4-65k_cityscapes-512x1024.py'

model = dict(
    decode_head=dict(
        coarse_head=dict(in_channels=[256] * 3, in_index=[1, 2, 3], feature_strides=[8, 16, 32])
    ),
    test_cfg=dict(subdivision_steps=3),
)
