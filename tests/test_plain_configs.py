# Copyright (c) The mmpointrend authors.
"""Configs that are data call nothing, wherever they come from."""

import os

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from mmpointrend.checkpoints.loading import read_checkpoint
from mmpointrend.engine.config_files import read_config
from mmpointrend.errors import ConfigError
from mmpointrend.plain_configs import complaint_about_text, complaint_about_types

CALLING = [
    'os.system',
    'subprocess.Popen',
    'builtins.eval',
    # Functions of packages that are allowed, and what these have imported.
    'mmengine.load',
    'mmengine.utils.misc.import_module',
    'mmengine.hooks.checkpoint_hook.Path',
    'torch.hub.load',
    # mmcv evaluates the type of its NMS.
    "__import__('os').getcwd() or nms",
]
PARTS = [
    'MaskRCNN',
    'mmpointrend.PointRendHead',
    'mmdet.CocoDataset',
    'mmengine.optim.optimizer.optimizer_wrapper.OptimWrapper',
    'mmengine.dataset.utils.pseudo_collate',
    'mmengine.runner.loops.TestLoop',
    'torch.optim.sgd.SGD',
    'torch.nn.ReLU',
    'nms',
]


@pytest.mark.parametrize('name', CALLING)
def test_types_that_call_anything_are_found_at_any_depth(name):
    assert 'not a registered type' in complaint_about_types({'hooks': [({'type': name},)]})
    assert 'not a registered type' in complaint_about_text(f'hooks = [dict(type={name!r})]')


@pytest.mark.parametrize('name', PARTS)
def test_types_of_models_and_runs_are_taken(name):
    assert complaint_about_types({'model': {'head': [{'type': name}]}}) is None


@pytest.mark.parametrize(
    ('text', 'complaint'),
    [
        ('a = 1\nimport os', 'a program in line 2'),
        ('a = dict(b=open("x"))', 'a program in line 1'),
        ('a = dict(b=(lambda: 1)())', 'a program in line 1'),
        ("a = '{{ $ENV:NO:x }}'", 'a template'),
        ("_base_ = 'other.py'", 'inherits files'),
        ("custom_imports = dict(imports=['not_there'])", "imports 'not_there'"),
        ('(' * 10_000, 'no Python'),
        ('-' * 100_000 + '1', 'no Python'),
        (b'a = 1', 'is a bytes'),
    ],
)
def test_text_that_is_more_than_values(text, complaint):
    assert complaint in complaint_about_text(text)


def test_what_mmengine_writes_of_a_config_is_values():
    config = Config(
        dict(
            a=dict(type='SGD', lr=-1e-3, keys={'x.y': 1, '0': (1, [2.5, None, True])}),
            b='it\'s "text"',
            custom_imports=dict(imports=['mmpointrend.models'], allow_failed_imports=False),
        )
    )
    assert complaint_about_text(config.pretty_text) is None


def test_an_evil_config_is_left_out_of_a_checkpoint_and_an_honest_one_stays(tmp_path):
    honest = "model = dict(type='MaskRCNN')\n"
    evil = f'import os\nos.mkdir({str(tmp_path / "ran")!r})\n'
    for text, kept in ((honest, True), (evil, False)):
        path = tmp_path / 'model.pth'
        content = dict(
            meta=dict(cfg=text, config=text, epoch=1),
            message_hub=dict(runtime_info=dict(cfg=text)),
            state_dict=dict(weight=torch.ones(1)),
        )
        torch.save(content, path)
        checkpoint = read_checkpoint(path, 'cpu', str(path))
        assert ('cfg' in checkpoint['meta']) is kept
        assert ('config' in checkpoint['meta']) is kept
        assert ('cfg' in checkpoint['message_hub']['runtime_info']) is kept
        assert checkpoint['meta']['epoch'] == 1
    assert not (tmp_path / 'ran').exists()


def test_a_warning_says_why_the_config_is_left_out(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmpointrend.checkpoints.loading.print_log', lambda line, *args: lines.append(line)
    )
    path = tmp_path / 'model.pth'
    torch.save(dict(meta=dict(cfg='import os'), state_dict=dict(weight=torch.ones(1, 1))), path)
    load_checkpoint(torch.nn.Linear(1, 1, bias=False), str(path))
    (said,) = lines
    assert 'has a program in line 1; it is left out' in said


def test_a_config_of_values_cannot_call(tmp_path):
    path = tmp_path / 'config.yaml'
    path.write_text(
        'default_scope: mmdet\nmodel: {type: MaskRCNN}\n'
        f'custom_hooks: [{{type: os.mkdir, path: {tmp_path / "ran"}}}]\n'
    )
    with pytest.raises(ConfigError, match=r"has type='os\.mkdir', which is not a registered type"):
        read_config(os.fspath(path))


@pytest.mark.parametrize('name', CALLING)
def test_a_type_that_a_tap_stands_for_calls_nothing(name):
    backbone = {'type': 'mmpointrend.TappedBackbone', 'of': name, 'layers': ['layer1']}
    assert 'could run anything' in str(complaint_about_types({'model': {'backbone': backbone}}))
    assert complaint_about_types({'backbone': {**backbone, 'of': 'mmdet.ResNet'}}) is None
