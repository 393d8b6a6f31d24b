# DeepLabV3 R103, output stride 16, Cityscapes.
#
# Expected: mIoU 77.2 (paper, Table 6).
# Schedule: 90k iterations of 16 crops of 768x768 (8 GPUs x 2), rate 0.01, polynomial decay.
# Loss:     mean over labelled pixels (avg_non_ignore), as in detectron2.
# Command:  mim train mmpointrend deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768.py --gpus 8 --launcher pytorch
_base_ = [
    '../_base_/models/deeplabv3_r103-d16.py',
    '../_base_/datasets/cityscapes-semantic_768x768.py',
    '../_base_/schedules/semantic_poly-90k.py',
]

model = dict(data_preprocessor=dict(size=(768, 768)))
