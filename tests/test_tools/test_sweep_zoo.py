# Copyright (c) The mmpointrend authors.
"""The sweep of both zoos: a config of each family, and what becomes of its outcomes."""

import importlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest


@pytest.fixture(scope='module')
def tool(repo):
    """The command as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repo / 'tools' / 'analysis_tools'))
        yield importlib.import_module('sweep_zoo')


@pytest.fixture(scope='module')
def zoo(tool):
    """The configs of a package, by name."""
    return importlib.import_module('zoo_configs').zoo


# One config of each family of the table that works.
SAMPLE = (Path(__file__).parents[1] / 'data' / 'zoo_sample.txt').read_text().split()


def test_the_sample_has_every_family_that_works(repo):
    table = (repo / 'docs' / 'compatibility.md').read_text()
    rows = re.findall(r'^\| (mm\w+) \| (\S+) \| \d+ \| (\d+) \|', table, re.M)
    families = {(package, family) for package, family, works in rows if int(works) > 0}
    assert len(families) > 60
    assert {tuple(re.split('::|/', name)[:2]) for name in SAMPLE} == families


@pytest.mark.parametrize('name', SAMPLE)
def test_pointrend_on_a_model_of_each_family(tool, zoo, tmp_path, name):
    package, _, path = name.partition('::')
    (config,) = [config for config in zoo(package, tmp_path) if config.name == path]
    assert tool.outcome_of(config, {})['outcome'] == tool.WORKS


def test_outcomes_are_kept_and_not_found_out_again(tool, tmp_path, monkeypatch):
    out = tmp_path / 'sweep.json'
    tried = []

    def outcome(config, seen):
        tried.append(config.name)
        return {'outcome': tool.FAULT if 'r50' in config.name else tool.WORKS}

    monkeypatch.setattr(tool, 'outcome_of', outcome)
    words = ['fast_scnn', 'fcn_r50-d8_4xb2-40k_cityscapes-512x1024', 'erfnet']
    results = tool.sweep(out, words, retry=False, cache=tmp_path)
    assert len(results) == len(tried) == 3 and json.loads(out.read_text()) == results
    tool.sweep(out, words, retry=False, cache=tmp_path)
    assert len(tried) == 3
    tool.sweep(out, words, retry=True, cache=tmp_path)
    assert [name for name, count in Counter(tried).items() if count == 2] == [
        'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'
    ]


def test_the_table_counts_every_config(tool, tmp_path):
    results = {
        'mmseg::a/1.py': {'outcome': 'works', 'model': 'x'},
        'mmseg::a/2.py': {'outcome': 'works', 'model': 'x'},
        'mmseg::a/3.py': {'outcome': 'refused', 'sentence': 'because | of this'},
        'mmdet::b/1.py': {'outcome': 'refused', 'sentence': 'which has neither an RoI head nor'},
        'mmdet::c/1.py': {'outcome': 'fault', 'sentence': 'RuntimeError: no'},
    }
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{tool._BEGIN}\nold\n{tool._END}\nafter\n')
    tool.write_table(page, results)
    text = page.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n') and 'old' not in text
    assert '| mmseg | a | 3 | 2 | 1 | 0 | 1 |' in text
    assert '| mmdet | c | 1 | 0 | 0, **1 faults** | 0 | 0 |' in text and '| mmdet | b' not in text
    assert (
        '5 configs: 2 work (1 different models after shrinking), 2 are refused, 0 not tried, 1 fail'
        in text
    )
    assert '| 1 | because / of this |' in text
    tool.write_table(page, results)
    assert page.read_text() == text


def test_a_loaded_config_is_kept(zoo, tmp_path):
    config = next(config for config in zoo('mmseg', tmp_path) if 'fast_scnn' in config.name)
    assert config.family == 'fastscnn'
    first = config.load()
    (kept,) = tmp_path.rglob('*.txt')
    kept.write_text(kept.read_text().replace('FastSCNN', 'Kept'))
    assert first.model.backbone.type == 'FastSCNN' and config.load().model.backbone.type == 'Kept'
