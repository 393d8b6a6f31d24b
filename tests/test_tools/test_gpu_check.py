# Copyright (c) The mmpointrend authors.
"""``tools/analysis_tools/gpu_check.py`` on the CPU at small size: it works the day there is a GPU."""

import importlib
import json

import pytest
import torch
from pycocotools import mask as coco_mask

from mmpointrend.run_lengths import encode_changes


@pytest.fixture
def tool(repo, monkeypatch):
    """The tool as a module, with its folder where Python looks."""
    monkeypatch.syspath_prepend(str(repo / 'tools' / 'analysis_tools'))
    return importlib.import_module('gpu_check')


def test_everything_runs_and_is_written(tool, tmp_path, monkeypatch):
    # Inductor's compiler takes half a minute.
    monkeypatch.setattr(torch, 'compile', lambda run: run)
    out = tmp_path / 'gpu.json'
    small = ['--device', 'cpu', '--shrink', '16', '--rounds', '2', '--out', str(out)]
    assert tool.main(small) == 0
    result = json.loads(out.read_text())
    assert all(found['ok'] for found in result['differences'].values())
    assert {'sample_features', 'masks of 0 objects', 'adaptive masks'} <= result[
        'differences'
    ].keys()
    assert all(row['seconds'] > 0 for row in result['timings']), result['timings']
    assert len(result['timings']) == 11


def test_an_answer_that_differs_is_named(tool, monkeypatch, capsys):
    devices = iter([0.0, 1.0])
    monkeypatch.setattr(
        tool, 'checks', lambda device: [('shift', lambda d: torch.tensor([next(devices)]), 0.5)]
    )
    arguments = ['--device', 'cpu', '--shrink', '16', '--rounds', '1', '--seconds', '0']
    assert tool.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err == 'not the same as on the CPU: shift\n'
    assert {row['note'] for row in json.loads(captured.out)['timings']} == {
        'left out: the time is up'
    }


@torch.no_grad()
def test_run_lengths_are_those_of_the_masks(tool):
    scene = tool.Scene(8, 3, (64, 96), 49, 'cpu')
    masks = tool.paste(tool.lossless(scene), scene.boxes, scene.image)
    encoded = encode_changes(*tool.lossless_runs(scene).numpy(), [scene.image] * 8)
    assert masks.any(dim=(1, 2)).all()
    for mask, runs in zip(masks.numpy(), encoded, strict=True):
        assert (coco_mask.decode(runs).astype(bool) == mask).all()


@torch.no_grad()
def test_the_plain_loop_is_the_renderer(tool):
    scene = tool.Scene(8, 3, (64, 96), 49, 'cpu')
    index = torch.arange(8)
    plain = tool.plain(scene)[index, scene.labels, None]
    torch.testing.assert_close(tool.lossless(scene), plain, rtol=1e-3, atol=1e-3)
