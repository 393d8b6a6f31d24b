# Copyright (c) The mmpointrend authors.
"""Every reference config trains and predicts, a sixteenth as wide and on tiny images."""

import pytest
import torch
from resolved_configs import CONFIGS

from mmpointrend.analysis.shrunken_models import HEIGHT, WIDTH, batch, build

NAMES = sorted(
    path.stem
    for folder in ('instance', 'semantic', 'ablation')
    for path in (CONFIGS / folder).glob('*.py')
)


def num_classes_of(cfg):
    """Number of classes by the head that every model of the task has."""
    if cfg.default_scope == 'mmdet':
        return cfg.model.roi_head.bbox_head.num_classes
    head = cfg.model.decode_head
    return head.get('coarse_head', head).num_classes


@pytest.mark.parametrize('name', NAMES)
def test_trains_and_predicts(read, name):
    cfg = read(name)
    torch.manual_seed(0)
    model = build(cfg)
    num_classes = num_classes_of(cfg)
    model.train()
    data = model.data_preprocessor(batch(cfg, num_classes), training=True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    assert loss.isfinite()
    loss.backward()
    unused = {
        parameter
        for parameter, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    }
    # The one model that leaves P2 to PointRend says so; distributed training would hang otherwise.
    assert bool(unused) == cfg.get('find_unused_parameters', False)

    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(batch(cfg, num_classes), training=False)
        results = model(**data, mode='predict')
    for result in results:
        if cfg.default_scope == 'mmdet':
            assert result.pred_instances.masks.shape == (3, HEIGHT, WIDTH)
        else:
            assert result.seg_logits.data.shape == (num_classes, HEIGHT, WIDTH)


def test_whole_images_of_different_sizes(read):
    cfg = read('pointrend_fpn_r50-caffe_8xb2-90k_coco-stuff')
    model = build(cfg)
    data = batch(cfg, 54)
    height, width = 50, 70
    data['inputs'][1] = data['inputs'][1][:, :height, :width]
    sample = data['data_samples'][1]
    sample.gt_sem_seg = sample.gt_sem_seg[:height, :width]
    loss, _ = model.parse_losses(model(**model.data_preprocessor(data, training=True), mode='loss'))
    assert loss.isfinite()

    model.eval()
    small = {key: values[1:] for key, values in batch(cfg, 54).items()}
    small['inputs'][0] = small['inputs'][0][:, :height, :width]
    small['data_samples'][0].set_metainfo(
        {'ori_shape': (height, width), 'img_shape': (height, width)}
    )
    with torch.no_grad():
        (result,) = model(**model.data_preprocessor(small, training=False), mode='predict')
    assert result.pred_sem_seg.data.shape == (1, height, width)
