# Copyright (c) The mmpointrend authors.
"""The commands and blocks of docs/any_model.md do what they say."""

import copy
import re
import shlex

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from mmpointrend.analysis.shrunken_models import batch, build
from mmpointrend.cli import main
from mmpointrend.conversion import convert_config

BASES = {
    'my_detector.py': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'my_segmentor.py': 'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the configs that the page speaks of."""
    for name, base in BASES.items():
        (tmp_path / name).write_text(f'_base_ = {base!r}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def page(repo):
    """The page."""
    return (repo / 'docs' / 'any_model.md').read_text()


def _blocks(page, beginning):
    blocks = re.findall(r'```python\n(.*?)```', page, re.S)
    return [block for block in blocks if block.startswith(beginning)]


def test_the_commands_write_the_configs_of_the_page(page, project, capsys):
    commands = re.findall(r'^mmpointrend convert (.*)$', page, re.M)
    written = _blocks(page, '_base_ =')
    assert len(commands) == len(written) == 2
    for command, text in zip(commands, written, strict=True):
        *_, out = shlex.split(command)
        with pytest.raises(SystemExit) as stop:
            main(['convert', *shlex.split(command)])
        assert not stop.value.code
        capsys.readouterr()
        # The first line of a file names the config.
        assert (project / out).read_text().partition('\n')[2] == text


def test_the_function_of_the_page_adds_pointrend(page, project):
    (block,) = _blocks(page, 'from mmengine.config import Config\n')
    names: dict = {}
    exec(compile(block, 'docs/any_model.md', 'exec'), names)
    assert names['cfg'].model.roi_head.type == 'mmpointrend.PointRendRoIHead'


def test_the_taps_of_the_page_train(page, project):
    base = 'mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py'
    cfg = convert_config(base, 'new.py')
    blocks = _blocks(page, 'model = dict(\n    neck') + _blocks(page, 'model = dict(\n    backbone')
    assert len(blocks) == 2
    for block in blocks:
        names: dict = {}
        exec(compile(block, 'docs/any_model.md', 'exec'), names)
        tapped = copy.deepcopy(cfg)
        tapped.merge_from_dict({'model': names['model']})
        tapped.model.train_cfg.num_points = 20
        model = build(tapped, fewer_classes=True).train()
        losses = model(**model.data_preprocessor(batch(tapped, 5), True), mode='loss')
        assert losses['decode.point.loss_ce'] > 0
        assert (
            model.decode_head.point_head.in_index
            == names['model']['decode_head']['point_head']['in_index']
        )


def test_the_drop_ins_and_mask2former_of_the_page_are_there(page):
    (imports,) = _blocks(page, 'from mmpointrend.points.compat')
    exec(compile(imports, 'docs/any_model.md', 'exec'), {})
    (block,) = _blocks(page, 'model = dict(panoptic_head')
    names: dict = {}
    exec(compile(block, 'docs/any_model.md', 'exec'), names)
    path = Config._get_cfg_path('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', '')[0]
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({'model': names['model']})
    assert cfg.model.panoptic_head.num_queries == 100
    assert MODELS.get(cfg.model.panoptic_head.type).__name__ == 'Mask2FormerHead'
