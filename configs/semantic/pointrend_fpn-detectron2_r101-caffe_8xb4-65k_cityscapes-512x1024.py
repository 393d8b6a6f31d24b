# PointRend, SemanticFPN R101 on P2-P5, Cityscapes: detectron2's own recipe, which its published weights are of.
#
# Expected: mIoU 78.9 (detectron2's pointrend_semantic_R_101_FPN_1x_cityscapes).
# Schedule: 65k iterations of 32 crops of 512x1024 (8 GPUs x 4), rate 0.01, drops at 40k and 55k.
# Losses:   means over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend pointrend_fpn-detectron2_r101-caffe_8xb4-65k_cityscapes-512x1024.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_fpn_r50-caffe_detectron2.py',
    '../_base_/datasets/cityscapes-semantic_512x1024.py',
    '../_base_/schedules/semantic_sgd-65k.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron2/resnet101_caffe')),
)
# The short side is one of seven: 512, 768, ..., 2048.
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(scales=[(4096, side) for side in range(512, 2049, 256)])
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
