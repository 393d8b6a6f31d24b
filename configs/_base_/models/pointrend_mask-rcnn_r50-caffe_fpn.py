# Mask R-CNN R50-FPN with PointRend's mask branch, trained on predicted boxes as detectron2 does (paper, App. A).
_base_ = ['mask-rcnn_r50-caffe_fpn.py', '../heads/pointrend.py']

model = _base_.pointrend
model.train_cfg.rcnn.train_on_pred_boxes = True
