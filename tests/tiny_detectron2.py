# Copyright (c) The mmpointrend authors.
"""Configs of the models that detectron2 was run with (fixtures of the shared folder): ours with fewer channels."""

from mmpointrend.engine.detectron2 import find_config

CHANNELS = dict(in_channels=[32, 64, 128, 256], out_channels=16)
BACKBONE = dict(depth=50, stem_channels=8, base_channels=8, style='caffe')
MASK_HEAD = dict(in_channels=16, conv_out_channels=16, fc_out_channels=32)
POINT_HEAD = dict(in_channels=16, fc_channels=16, num_classes=4)
INSTANCE = {
    'model.backbone': BACKBONE,
    'model.neck': CHANNELS,
    'model.rpn_head': dict(in_channels=16, feat_channels=16),
    'model.roi_head.bbox_roi_extractor.out_channels': 16,
    'model.roi_head.bbox_head': dict(in_channels=16, fc_out_channels=32, num_classes=4),
    'model.roi_head.mask_roi_extractor.out_channels': 16,
    'model.test_cfg.rpn.max_per_img': 100,
    'model.test_cfg.rcnn': dict(score_thr=0.0, max_per_img=12),
    'model.roi_head.point_head': POINT_HEAD,
}
# The fixtures' yaml files: the published models with fewer channels and classes.
FIXTURES = {
    'instance_r50': (
        'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco',
        {**INSTANCE, 'model.roi_head.mask_head': dict(MASK_HEAD, num_classes=4)},
    ),
    'implicit_r50': (
        'implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco',
        {**INSTANCE, 'model.roi_head.mask_head': MASK_HEAD},
    ),
    'semantic_r50': (
        'pointrend_fpn-detectron2_r101-caffe_8xb4-65k_cityscapes-512x1024',
        {
            'model.data_preprocessor.size': None,
            'model.backbone': BACKBONE,
            'model.neck': CHANNELS,
            'model.decode_head.coarse_head': dict(in_channels=[16] * 4, channels=32, num_classes=5),
            'model.decode_head.point_head': dict(in_channels=[16], channels=16),
            'model.test_cfg.subdivision_num_points': 512,
        },
    ),
}


def tiny_config(name):
    """Config of a fixture's model."""
    base, changes = FIXTURES[name]
    cfg = find_config(base)
    cfg.merge_from_dict(changes)
    return cfg
