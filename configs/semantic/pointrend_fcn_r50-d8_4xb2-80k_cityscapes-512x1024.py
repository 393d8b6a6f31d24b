# PointRend, FCN R50, output stride 8, Cityscapes: mmseg's recipe of FCN, with PointRend round its head.
#
# Expected: not published; mmseg's FCN without PointRend has mIoU 73.61.
# Schedule: 80k iterations of 8 crops of 512x1024 (4 GPUs x 2), rate 0.01, polynomial decay.
# Command:  mim train mmpointrend pointrend_fcn_r50-d8_4xb2-80k_cityscapes-512x1024.py --gpus 4 --launcher pytorch
_base_ = [
    'mmseg::_base_/models/fcn_r50-d8.py',
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_80k.py',
    '../_base_/heads/pointrend_semantic.py',
]

# The fine features are those of the first stage, res2; from stride 8 to 1 are three steps.
model = _base_.pointrend
model.data_preprocessor = dict(size=(512, 1024))
model.decode_head.coarse_head = _base_.model.decode_head
model.decode_head.uncertainty = 'probabilities'
model.test_cfg.subdivision_steps = 3
