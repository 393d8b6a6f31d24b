# Copyright (c) The mmpointrend authors.
"""The code of docs/extending.md runs as it stands there."""

import re

import pytest
from tiny_heads import (
    build_roi_head,
    build_segmentor,
    detections,
    feature_levels,
    fpn_head,
    point_head,
    roi_head_config,
    roi_losses,
    semantic_batch,
)

import mmpointrend.models  # noqa: F401
from mmpointrend.engine.detectron2 import build_empty, find_config
from mmpointrend.registry import MODELS, POINT_SELECTIONS


@pytest.fixture(scope='module', autouse=True)
def code_of_the_page(repo):
    """The page's blocks that define a class, executed; what they register is taken back."""
    page = (repo / 'docs' / 'extending.md').read_text()
    blocks = [code for code in re.findall(r'```python\n(.*?)```', page, re.S) if 'class ' in code]
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, 'docs/extending.md', 'exec'), {'__name__': 'extending'})
    yield
    MODELS.module_dict.pop('ResidualPointHead')
    POINT_SELECTIONS.module_dict.pop('MostUncertainSelection')


@pytest.mark.parametrize('class_agnostic', [False, True])
def test_a_point_head_of_ones_own(class_agnostic):
    config = roi_head_config()
    config.mask_head.class_agnostic = class_agnostic
    config.point_head.type = 'mmpointrend.ResidualPointHead'
    head = build_roi_head(config)
    assert roi_losses(head, feature_levels(), (2, 0))[0]['loss_point'] > 0
    assert head(feature_levels(), detections([1, 2]))[-1].shape == (3, 1, 224, 224)


def test_a_selection_strategy_of_ones_own():
    strategy = {'type': 'MostUncertainSelection', 'candidates': 300}
    config = roi_head_config()
    config.train_cfg.point_selection = strategy
    head = build_roi_head(config)
    assert head.point_selection.candidates == 300
    assert roi_losses(head, feature_levels(), (2, 1))[0]['loss_point'] > 0
    model = build_segmentor(
        {
            'type': 'mmpointrend.PointRendHead',
            'coarse_head': fpn_head(),
            'point_head': point_head(),
        },
        train_cfg={'num_points': 50, 'point_selection': strategy},
    )
    assert model.loss(*semantic_batch())['decode.point.loss_ce'] > 0


def _model_by(repo, words):
    """The reference model, changed by the page's block that has these words, without memory for its weights."""
    page = (repo / 'docs' / 'extending.md').read_text()
    (code,) = (code for code in re.findall(r'```python\n(.*?)```', page, re.S) if words in code)
    found = {}
    exec(compile(code, 'docs/extending.md', 'exec'), found)
    cfg = find_config('pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco')
    cfg.merge_from_dict({'model': found['model']})
    return build_empty(cfg).roi_head


def test_a_coarse_head_of_mmdets(repo):
    head = _model_by(repo, "type='FCNMaskHead'")
    assert type(head.mask_head).__name__ == 'FCNMaskHead'
    assert (head.mask_head.in_channels, head.mask_head.num_classes) == (256, 80)
    assert (head.train_cfg.mask_size, head.rendering.steps) == (28, 3)


def test_a_dataset_of_ones_own_is_one_number(repo):
    head = _model_by(repo, "'nucleus'")
    assert {part.num_classes for part in (head.bbox_head, head.mask_head, head.point_head)} == {2}
