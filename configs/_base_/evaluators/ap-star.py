# Mask AP and Boundary AP on COCO's annotations, and AP* on LVIS's of the same images (paper, section 4), for a COCO model.
#
# A config of three lines tests any COCO config by it:
#   _base_ = ['mmpointrend::instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py', 'mmpointrend::_base_/evaluators/ap-star.py']
#   test_evaluator = _base_.ap_star_evaluator
# Command: python tools/test.py THAT_CONFIG CHECKPOINT
#
# It has a name of its own, for two bases may not both set test_evaluator. The annotations are LVIS's own file; with
# lvis_v1_val.json the figure is AP*-v1, which does not compare with the published ones.
ap_star_evaluator = [
    dict(
        type='mmpointrend.CocoBoundaryMetric',
        _scope_='mmdet',
        ann_file='data/coco/annotations/instances_val2017.json',
        metric=['bbox', 'segm', 'boundary'],
    ),
    dict(
        type='mmpointrend.APStarMetric',
        _scope_='mmdet',
        ann_file='data/lvis_v0.5/annotations/lvis_v0.5_val.json',
    ),
]
