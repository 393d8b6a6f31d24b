# Copyright (c) The mmpointrend authors.
"""Tiny models of both tasks with random weights, and images to predict."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from tiny_runs import CLASSES, write_config, write_data

from mmpointrend.checkpoints.saving import save_model

PALETTES = {
    'instance': [(255, 0, 0), (0, 255, 0)],
    'semantic': [(0, 0, 0), (255, 0, 0), (0, 255, 0)],
}


@dataclass(frozen=True)
class Tiny:
    """A model as a user has it.

    Attributes:
        task: 'instance' or 'semantic'.
        config: Its config.
        weights: Its checkpoint, which carries classes and config.
        images: Folder of six images of 64 x 64 pixels.
    """

    task: str
    config: Path
    weights: Path
    images: Path


def _tiny(task: str, folder: Path) -> Tiny:
    data = write_data(folder / 'data')
    config = write_config(task, folder, data, length=2)
    cfg = Config.fromfile(config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        model.init_weights()
    classes = CLASSES if task == 'instance' else ('background', *CLASSES)
    meta = {
        'cfg': Config.fromfile(config).pretty_text,
        'dataset_meta': {'classes': classes, 'palette': PALETTES[task]},
    }
    weights = folder / 'tiny.pth'
    save_model(weights, model.state_dict(), meta)
    return Tiny(task, config, weights, data / 'images')


@pytest.fixture(scope='session')
def instance(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A Mask R-CNN with PointRend."""
    return _tiny('instance', tmp_path_factory.mktemp('instance'))


@pytest.fixture(scope='session')
def semantic(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """An FCN with PointRend."""
    return _tiny('semantic', tmp_path_factory.mktemp('semantic'))


@pytest.fixture(params=['instance', 'semantic'])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    """Both, one after the other."""
    return request.getfixturevalue(request.param)
