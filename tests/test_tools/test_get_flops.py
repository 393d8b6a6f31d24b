# Copyright (c) The mmpointrend authors.
"""``tools/analysis_tools/get_flops.py``: the paper's Table 2, and what it prints of a config."""

import json
import runpy

import pytest

# Multiply-adds and activations of an RoI, 80 classes; None where they are not counted.
TABLE2 = [
    (529_858_560, 514_304),
    (33_910_947_840, 32_915_456),
    (30_752_768, 68_688),
    (284_928, 848),
    (258_384, None),
    (924_286_976, 733_520),
    (980_132_864, 733_520),
]
POINTREND = 'configs/instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'


@pytest.fixture
def run(repo, monkeypatch, capsys):
    """Runs the command and returns what it prints."""
    tool = runpy.run_path(str(repo / 'tools' / 'analysis_tools' / 'get_flops.py'))

    def call(*arguments):
        monkeypatch.setattr('sys.argv', ['get_flops.py', *map(str, arguments)])
        capsys.readouterr()
        tool['main']()
        return capsys.readouterr().out

    return call


def test_table2(run):
    rows = json.loads(run('--table2', '--json'))
    assert [(row['multiply_adds'], row['activations']) for row in rows] == TABLE2
    # The paper: "more than 30 times less computation and memory" than the 4x conv head at 224x224.
    for row in rows[-2:]:
        assert row['multiply_adds_fewer'] == 33_910_947_840 / row['multiply_adds'] > 30
        assert row['activations_fewer'] == 32_915_456 / row['activations'] > 30
    # The paper's are ours rounded, and marked as not checked.
    assert [row['paper'] for row in rows] == [
        f'{multiply_adds / 1e9:.{digits}f}B / {activations / 1e6:.{digits}f}M†' if known else ''
        for known, digits, (multiply_adds, activations) in zip(
            (1, 1, 0, 0, 0, 1, 0), (1, 0, 1, 1, 1, 1, 1), TABLE2, strict=True
        )
    ]


def test_table2_is_printed(run):
    printed = run('--table2')
    for row in TABLE2:
        assert all(f'{value:,}' in printed for value in row if value is not None)
    assert all(ratio in printed for ratio in ('36.7x', '34.6x', '44.9x'))
    assert "† Rounded; not stated in the paper's text" in printed


def test_config(run, repo):
    found = json.loads(run(repo / POINTREND, '--json'))
    assert (found['multiply_adds'], found['peak_activations']) == TABLE2[5]
    assert found['multiply_adds_without_skipping'] == TABLE2[6][0]
    # Summed over the steps there are only 12 times fewer.
    assert found['activations'] == 68_688 + 4 * 784 * 848
    assert [step['skipped'] for step in found['steps']] == [True, False, False, False, False]
    options = ('--cfg-options', 'model.roi_head.point_head.fc_channels=128')
    printed = run(repo / POINTREND, *options)
    assert f'{(128 + 80) * 128:,}' in printed and 'step 1: 14x14, 196 points, skipped' in printed


def test_image_size_is_that_of_the_crop_or_as_asked(run, semantic_run):
    assert 'an image of 48x48' in run(semantic_run.config)
    assert 'an image of 64x32' in run(semantic_run.config, '--shape', 64, 32)


@pytest.mark.parametrize('arguments', [(), ('config.py', '--table2')])
def test_either_a_config_or_the_table(run, arguments):
    with pytest.raises(ValueError, match='give either a config or --table2'):
        run(*arguments)
