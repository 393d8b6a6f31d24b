# PointRend, SemanticFPN R50, COCO-stuff: 53 stuff classes and all things as one.
#
# Expected: not published.
# Schedule: 90k iterations of 16 images (8 GPUs x 2), rate 0.02, drops at 60k and 80k.
# Losses:   means over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend pointrend_fpn_r50-caffe_8xb2-90k_coco-stuff.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/pointrend_fpn_r50-caffe_detectron2.py',
    '../_base_/datasets/coco-stuff_640-800.py',
    '../_base_/schedules/semantic_sgd-90k.py',
]

model = dict(
    data_preprocessor=dict(size_divisor=32, test_cfg=dict(size_divisor=32)),
    decode_head=dict(coarse_head=dict(num_classes=54)),
    train_cfg=dict(num_points=1024),
)
