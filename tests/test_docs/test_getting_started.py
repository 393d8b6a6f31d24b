# Copyright (c) The mmpointrend authors.
"""The Python of README and getting_started.md, and their configs at full width."""

import pytest
from mmengine.config import Config
from pages import CONFIGS, blocks, write_pages_configs

from mmpointrend.engine.detectron2 import build_empty


@pytest.fixture(scope='module')
def configs(repo, tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    write_pages_configs(repo / 'docs' / 'getting_started.md', folder)
    return {name: Config.fromfile(folder / name) for name in CONFIGS}


@pytest.mark.parametrize('name', CONFIGS)
def test_model_has_the_classes_of_the_data(configs, name):
    model = build_empty(configs[name])
    if name == 'mine.py':
        assert model.roi_head.bbox_head.fc_cls.out_features == 3
        assert model.roi_head.mask_head.num_classes == model.roi_head.point_head.num_classes == 2
    else:
        logits = 1 if name == 'road.py' else 2
        assert model.decode_head.coarse_head.conv_seg.out_channels == logits
        assert model.decode_head.point_head.fc_logits.out_channels == logits


def test_rate_is_scaled_by_the_batch(configs):
    cfg = configs['mine.py']
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.0025)
    assert cfg.optim_wrapper.optimizer.type == 'SGD' and cfg.train_dataloader.batch_size == 2
    assert (
        cfg.train_cfg.type == 'IterBasedTrainLoop'
        and cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    )


def test_the_relative_base_of_the_page_exists(repo):
    page = (repo / 'docs' / 'getting_started.md').read_text()
    (path,) = [line for line in page.splitlines() if line.startswith("`_base_ = '../mmpointrend/")]
    assert (repo / path.split("'")[1].removeprefix('../mmpointrend/')).is_file()


@pytest.mark.parametrize('page', ['README.md', 'docs/getting_started.md'])
def test_python_predicts(repo, page, at_home):
    codes = [code for code in blocks(repo / page, 'python') if 'load_model' in code]
    assert len(codes) == 1
    names: dict = {}
    exec(compile(codes[0], page, 'exec'), names)
    masks = names['result'].pred_instances.masks
    assert masks.shape[1:] == (64, 64)
