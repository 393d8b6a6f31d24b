# PointRend, DeepLabV3 R103, output stride 16, Cityscapes.
#
# Expected: mIoU 78.4 (paper, Table 6).
# Schedule: 90k iterations of 16 crops of 768x768 (8 GPUs x 2), rate 0.01, polynomial decay.
# Losses:   means over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend pointrend_deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py --gpus 8 --launcher pytorch
_base_ = [
    'deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py',
    '../_base_/heads/pointrend_semantic.py',
]

# The fine features are those of the first stage, res2.
model = _base_.pointrend
model.decode_head.coarse_head = _base_.model.decode_head
model.decode_head.uncertainty = 'probabilities'
model.decode_head.point_head.loss_decode.avg_non_ignore = True
# As many points as the coarse map of a crop has pixels.
model.train_cfg.num_points = 48 * 48
model.test_cfg.subdivision_steps = 4
