# Copyright (c) The mmpointrend authors.
"""``tools/compare_models.py`` on untrained tiny models of both tasks."""

import runpy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from pycocotools.coco import COCO
from tiny_runs import write_config

from mmpointrend.errors import CheckpointError


@pytest.fixture(params=['semantic', 'instance'])
def models(request, repo, tiny_data, tmp_path):
    """The tool's functions, a config, and two checkpoints of it."""
    tool = runpy.run_path(str(repo / 'tools' / 'compare_models.py'))
    path = write_config(request.param, tmp_path, tiny_data, length=1)
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    checkpoints = [tmp_path / 'a.pth', tmp_path / 'b.pth']
    for seed, checkpoint in enumerate(checkpoints):
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return request.param, tool, path, checkpoints


def run(tool, monkeypatch, *arguments):
    """Runs the command."""
    monkeypatch.setattr('sys.argv', ['compare_models.py', *map(str, arguments)])
    tool['main']()


def test_truth_is_the_annotation(models, tiny_data):
    task, tool, path, checkpoints = models
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    pair = [tool['load_model'](cfg, str(checkpoint)) for checkpoint in checkpoints]
    item = DATASETS.build(cfg.test_dataloader.dataset)[2]
    truth, *predictions = tool['predict'](task, pair, item)
    if task == 'semantic':
        expected = cv2.imread(str(tiny_data / 'labels' / '02.png'), cv2.IMREAD_GRAYSCALE)
    else:
        coco = COCO(str(tiny_data / 'annotations.json'))
        masks = np.stack([coco.annToMask(coco.anns[i]) for i in coco.getAnnIds(2)]).astype(bool)
        expected = masks[np.argsort(-masks.sum((1, 2)))]
    np.testing.assert_array_equal(truth, expected)
    assert all(p.shape == truth.shape and p.dtype == truth.dtype for p in predictions)
    assert (predictions[0] != predictions[1]).any()


def test_pictures(models, tmp_path, monkeypatch):
    _, tool, path, (first, second) = models
    run(tool, monkeypatch, path, first, path, second, tmp_path / 'two', '--count', 2)
    assert sorted(p.name for p in (tmp_path / 'two').iterdir()) == ['00.png', '05.png']
    options = (tmp_path / 'blank', '--images', 5, '--blank')
    run(tool, monkeypatch, path, first, path, second, *options)
    blank, full = (cv2.imread(str(tmp_path / d / '05.png')) for d in ('blank', 'two'))
    assert blank.shape == full.shape
    # The first column is the input: white when left blank, noise otherwise.
    column = blank.shape[1] // 4 - 10
    assert np.median(blank[:, :column]) == 255 > np.median(full[60:-10, 20:column])


def test_a_position_outside_of_the_test_set_is_refused(models, tmp_path, monkeypatch):
    _, tool, path, (first, second) = models
    with pytest.raises(ValueError, match='--images takes 0 to 5, but got'):
        run(tool, monkeypatch, path, first, path, second, tmp_path / 'out', '--images', 6)


def test_a_checkpoint_of_the_classes_in_another_order_is_refused(models, tmp_path, monkeypatch):
    task, tool, path, (first, second) = models
    trained = ('box', 'disc') if task == 'instance' else ('box', 'disc', 'background')
    content = torch.load(second)
    torch.save({**content, 'meta': dict(dataset_meta=dict(classes=trained))}, second)
    with pytest.raises(CheckpointError, match=r'b\.pth was trained on the classes \(box, disc'):
        run(tool, monkeypatch, path, first, path, second, tmp_path / 'out')
