# Copyright (c) The mmpointrend authors.
"""A user's folder with all that the pages speak of: pictures, data of both kinds, weights, configs.

The models are the pages' own, a sixteenth as wide, and see small images; what the user types is as it stands there.
"""

import shutil
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from pages import CONFIGS, write_pages_configs
from tiny_runs import write_data

from mmpointrend.analysis.shrunken_models import shrunken
from mmpointrend.engine import config_files

PREDICTING = 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'
LENGTH = 2


def small(cfg: Config) -> Config:
    """A config whose run takes seconds on a core."""
    cfg.model = shrunken(cfg.model)
    cfg.model.pop('pretrained', None)
    cfg.model.backbone.pop('init_cfg', None)
    if cfg.model.data_preprocessor.get('size'):
        cfg.model.data_preprocessor.size = (64, 64)
    cfg.load_from = None
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg[name]
        loader.num_workers, loader.persistent_workers = 0, False
        for step in loader.dataset.pipeline:
            if step['type'] in ('Resize', 'RandomResize', 'RandomChoiceResize'):
                step.pop('scales', None)
                step.update(type='Resize', scale=(96, 64))
                step.pop('ratio_range', None)
            elif step['type'] == 'RandomCrop':
                step.crop_size = (64, 64)
    cfg.train_cfg.update(max_iters=LENGTH, val_interval=LENGTH)
    cfg.default_hooks.checkpoint.interval = LENGTH
    return cfg


@pytest.fixture(scope='session')
def home(repo, tmp_path_factory) -> Path:
    """The user's folder."""
    folder = tmp_path_factory.mktemp('home')
    drawn = write_data(folder / 'drawn')
    (folder / 'photos').mkdir()
    (folder / 'mine').mkdir()
    shutil.copytree(drawn / 'images', folder / 'mine' / 'images')
    for split in ('train', 'val'):
        shutil.copy(drawn / 'annotations.json', folder / 'mine' / f'{split}.json')
        for kind in ('images', 'labels'):
            (folder / 'streets' / kind / split).mkdir(parents=True)
    for path in sorted((drawn / 'images').iterdir()):
        image = cv2.imread(str(path))
        labels = cv2.imread(str(drawn / 'labels' / path.name), cv2.IMREAD_UNCHANGED)
        for split in ('train', 'val'):
            cv2.imwrite(str(folder / f'streets/images/{split}/{path.stem}.jpg'), image)
            cv2.imwrite(str(folder / f'streets/labels/{split}/{path.name}'), labels.clip(0, 1))
        cv2.imwrite(str(folder / f'photos/{path.stem}.jpg'), image)
    cv2.imwrite(str(folder / 'street.jpg'), image)

    # In the place of our configs stands the one that the pages predict with.
    cfg = small(config_files.read_config(PREDICTING))
    (folder / 'configs' / 'instance').mkdir(parents=True)
    cfg.dump(folder / 'configs' / 'instance' / f'{PREDICTING}.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights), folder / 'w.pth')

    write_pages_configs(repo / 'docs' / 'getting_started.md', folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        whole = {name: Config.fromfile(name) for name in CONFIGS}
        for name, cfg in whole.items():
            small(cfg).dump(folder / name)
    return folder


@pytest.fixture
def at_home(home, monkeypatch) -> Path:
    """The user's folder, as the working directory."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(config_files, 'OUR_CONFIGS', home / 'configs')
    return home
