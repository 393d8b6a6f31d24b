# PointRend, SemanticFPN R101, ADE20K: mmseg's own recipe.
#
# Expected: mIoU 40.02 (mmseg's published checkpoint of the same recipe).
# Schedule: 160k iterations of 16 crops of 512x512 (4 GPUs x 4), rate 0.01, polynomial decay.
# Command:  mim train mmpointrend pointrend_fpn_r101_4xb4-160k_ade20k-512x512.py --gpus 4 --launcher pytorch
_base_ = 'pointrend_fpn_r50_4xb4-160k_ade20k-512x512.py'

model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))
