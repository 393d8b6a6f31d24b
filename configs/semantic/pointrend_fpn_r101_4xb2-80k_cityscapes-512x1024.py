# PointRend, SemanticFPN R101, Cityscapes: mmseg's own recipe.
#
# Expected: mIoU 78.30 (mmseg's published checkpoint of the same recipe).
# Schedule: 80k iterations of 8 crops of 512x1024 (4 GPUs x 2), rate 0.01, polynomial decay.
# Command:  mim train mmpointrend pointrend_fpn_r101_4xb2-80k_cityscapes-512x1024.py --gpus 4 --launcher pytorch
_base_ = 'pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024.py'

model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))
