# Copyright (c) The mmpointrend authors.
"""Configs in every format that mmengine takes; those that are data run nothing."""

import json
import os

import pytest

from mmpointrend.engine.launch import read_config
from mmpointrend.errors import ConfigError

CONTENT = dict(default_scope='mmdet', model=dict(type='MaskRCNN'), work_dir='here')


@pytest.mark.parametrize('suffix', ['py', 'json', 'yaml', 'yml'])
def test_formats(suffix, tmp_path):
    path = tmp_path / f'config.{suffix}'
    python = '\n'.join(f'{key} = {value!r}' for key, value in CONTENT.items())
    path.write_text(python if suffix == 'py' else json.dumps(CONTENT))  # which is YAML too
    assert read_config(str(path), {'model.depth': 3}).to_dict() == {
        **CONTENT,
        'model': dict(type='MaskRCNN', depth=3),
    }


@pytest.mark.parametrize('child', ['child.py', 'child.yaml', 'child.json'])
def test_yaml_runs_nothing_as_a_base_either(child, tmp_path):
    canary = tmp_path / 'code_ran'
    (tmp_path / 'base.yaml').write_text(
        f'model: !!python/object/apply:os.system ["touch {canary}"]'
    )
    for name in (child, 'base.yaml'):
        if name == child:
            text = "_base_ = './base.yaml'" if child.endswith('py') else '{"_base_": "./base.yaml"}'
            (tmp_path / child).write_text(text)
        with pytest.raises(ConfigError, match='this is not plain YAML'):
            read_config(str(tmp_path / name))
    assert not canary.exists()


@pytest.mark.parametrize(
    ('name', 'content', 'complaint'),
    [
        ('a.json', '[' * 200_000, 'is nested too deeply'),
        ('a.json', '{', 'is damaged or no JSON'),
        ('a.json', '[]', 'has no keys at its top'),
        ('a.yaml', '', 'has no keys at its top'),
        ('a.yaml', 'a: [', 'is not plain YAML'),
        ('a.yaml', '[' * 200_000, 'YAML nested more than 100 deep'),
        ('a.json', '{"_base_": "./a.json"}', 'inherits itself'),
        ('a.py', "_base_ = './a.py'", 'inherits itself'),
        ('a.py', "_base_ = './lost.py'", 'names a file that is not there'),
        ('a.pth', 'PK', 'is no config: give a .py, .json, .yaml or .yml file'),
    ],
)
def test_what_is_wrong_is_said(name, content, complaint, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        read_config(str(tmp_path / name))


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe.py')
    (tmp_path / 'folder.py').mkdir()
    for name, complaint in (
        ('pipe.py', r'is a pipe \(FIFO\)'),
        ('folder.py', 'is a folder: give a file'),
        ('lost.py', 'does not exist'),
    ):
        with pytest.raises(ConfigError, match=rf'the config .*{name} {complaint}'):
            read_config(str(tmp_path / name))


def test_bases_that_double_at_each_step_end_in_a_sentence(tmp_path):
    for index in range(30):
        name = f'{index + 1}.yaml'
        (tmp_path / f'{index}.yaml').write_text(f'_base_: [{name}, {name}]')
    (tmp_path / '30.yaml').write_text('a: 1')
    with pytest.raises(ConfigError, match='inherits more than 1000 files'):
        read_config(str(tmp_path / '0.yaml'))


@pytest.mark.parametrize('suffix', ['py', 'yaml', 'json'])
def test_a_pipe_as_a_base_is_not_waited_for(suffix, tmp_path):
    os.mkfifo(tmp_path / f'base.{suffix}')
    (tmp_path / 'config.yaml').write_text(f'_base_: base.{suffix}')
    with pytest.raises(ConfigError, match=r'is a pipe \(FIFO\)'):
        read_config(str(tmp_path / 'config.yaml'))


@pytest.mark.parametrize(
    'text',
    [
        '_base_: [5]',
        '_base_: null',
        '_base_: "\\0.yaml"',
        '_base_: "mmdet::none.py"',
        '5: 6',
        'text: 6',
        'custom_imports: 5',
        'custom_imports: {imports: [not_there]}',
    ],
)
def test_values_in_places_of_other_kinds_end_in_a_sentence(text, tmp_path):
    (tmp_path / 'config.yaml').write_text(text)
    with pytest.raises(ConfigError, match=r'config\.yaml cannot be used \('):
        read_config(str(tmp_path / 'config.yaml'))
