# Copyright (c) The mmpointrend authors.
"""``tools/analysis_tools/swap_masks.py`` on untrained tiny models, against mmdet's own predictions and literals."""

import runpy

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import InstanceData
from tiny_runs import write_config

from mmpointrend.errors import ConfigError


@pytest.fixture(scope='module')
def tool(repo):
    return runpy.run_path(str(repo / 'tools' / 'analysis_tools' / 'swap_masks.py'))


@pytest.fixture
def models(tiny_data, tmp_path):
    """A config, two models of it and their checkpoints."""
    path = write_config('instance', tmp_path, tiny_data, length=1)
    cfg = Config.fromfile(path)
    cfg.model.test_cfg.rcnn.score_thr = 0.0
    init_default_scope(cfg.default_scope)
    built = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        torch.save(dict(state_dict=model.state_dict()), tmp_path / f'{seed}.pth')
        built.append(model)
    return path, cfg, built, [tmp_path / '0.pth', tmp_path / '1.pth']


def test_a_models_own_detections_get_its_own_masks(tool, models):
    _, cfg, pair, _ = models
    batch = pseudo_collate([DATASETS.build(cfg.test_dataloader.dataset)[2]])
    with torch.no_grad():
        own = pair[0].test_step(batch)[0].pred_instances
        drawn, other = (tool['draw_masks'](model, batch, own).pred_instances for model in pair)
    assert len(own) > 0
    for name in ('masks', 'labels', 'scores'):
        assert torch.equal(drawn[name], own[name])
    assert not torch.equal(other.masks, own.masks)
    torch.testing.assert_close(other.bboxes, own.bboxes)


def test_scores_are_ious_with_an_instance_of_the_class(tool):
    truth = np.zeros((2, 4, 4), np.uint8)
    truth[0, :2], truth[1, 2:] = 1, 1
    masks = torch.zeros(4, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, :1], masks[2, :3] = True, True, True
    sample = DetDataSample(
        gt_instances=InstanceData(masks=BitmapMasks(truth, 4, 4), labels=torch.tensor([0, 1])),
        pred_instances=InstanceData(
            masks=masks, labels=torch.tensor([0, 0, 1, 0]), scores=torch.full((4,), 0.9)
        ),
    )
    scored = tool['score_by_masks'](sample)
    # Of the third the second instance is the only one of its class: 4 of 16 pixels.
    torch.testing.assert_close(scored.pred_instances.scores, torch.tensor([1, 0.5, 0.25, 0]))
    assert (sample.pred_instances.scores == 0.9).all()


def test_pairs_of_a_model_with_itself_are_what_mmdet_evaluates(tool, models):
    _, cfg, pair, _ = models
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    figures = tool['compare'](cfg, pair, dataset)
    assert len(figures) == 8
    for number, model in enumerate(pair):
        evaluator = Evaluator(cfg.test_evaluator)
        evaluator.dataset_meta = dataset.metainfo
        for index in range(len(dataset)):
            batch = pseudo_collate([dataset[index]])
            with torch.no_grad():
                evaluator.process(model.test_step(batch), batch)
        assert figures[number, number, False] == evaluator.evaluate(len(dataset))
    best = max(figures[key]['coco/segm_mAP_50'] for key in figures if key[2])
    assert best >= max(figures[key]['coco/segm_mAP_50'] for key in figures if not key[2])


def test_the_table(tool, models, monkeypatch, capsys):
    path, _, _, (first, second) = models
    monkeypatch.setenv('COLUMNS', '200')
    monkeypatch.setattr(
        'sys.argv', ['swap_masks.py', *map(str, (path, first, path, second)), '--names', 'A', 'B']
    )
    tool['main']()
    rows = [line.split('│')[1:4] for line in capsys.readouterr().out.splitlines() if '│' in line]
    shown = [tuple(cell.strip() for cell in row) for row in rows]
    pairs = [('A', 'A'), ('A', 'B'), ('B', 'A'), ('B', 'B')]
    assert shown == [(*pair, scores) for scores in ('own', 'mask IoU') for pair in pairs]


def test_label_maps_have_no_detections(tool, tiny_data, tmp_path, monkeypatch):
    path = write_config('semantic', tmp_path, tiny_data, length=1)
    monkeypatch.setattr('sys.argv', ['swap_masks.py', str(path), 'a.pth', str(path), 'b.pth'])
    with pytest.raises(ConfigError, match='is semantic: give two configs of instance'):
        tool['main']()
