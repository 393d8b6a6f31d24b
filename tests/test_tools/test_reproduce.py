# Copyright (c) The mmpointrend authors.
"""The command: what it asks of the runs and what it prints; the runs themselves are fakes."""

import runpy
import sys
from pathlib import Path

import pytest

from mmpointrend.reproduction import Reproduction

# Boundary IoU on ground-truth boxes by the training's name and seed, everything else 0.1.
GT_BOXES = {'mask-rcnn': (0.5, 0.51, 0.52), 'pointrend': (0.6, 0.62, 0.61)}


def reproduce(repo: Path, *arguments: object) -> None:
    """Run the tool."""
    argv = [str(repo / 'tools' / 'reproduce.py'), *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', argv)
        patch.setenv('COLUMNS', '250')
        runpy.run_path(argv[0], run_name='__main__')


@pytest.fixture
def fake_runs(monkeypatch) -> None:
    """Every run has been finished."""

    def figures(self, test, seed):
        kind = test.training.name.partition('_')[0]
        return {
            'coco/segm_mAP': 0.1,
            'coco/boundary_mAP': 0.1,
            'gt_box/boundary_IoU': GT_BOXES.get(kind, (0,))[min(seed, 2)],
            'gt_box/boundary_IoU_s': 0.1,
            'gt_box/boundary_IoU_l': 0.1,
        }

    monkeypatch.setattr(Reproduction, 'figures', figures)


SMALL = ('--mini', '--train', 2, '--val', 1, '--size', 96)


def test_mini_table_on_the_screen_and_in_markdown(repo, fake_runs, tmp_path, capsys):
    page = tmp_path / 'tables.md'
    reproduce(repo, 1, *SMALL, '--work-dir', tmp_path / 'work', '--markdown', page)
    screen = capsys.readouterr().out
    assert 'Table 1: the mask head of Mask R-CNN' in screen
    assert '61.0 ± 1.0 (+10.0 ± 1.0)' in screen
    line = next(line for line in page.read_text().splitlines() if '224x224' in line)
    assert line == (
        '| PointRend, 224x224 | 10.0 ± 0.0 (+0.0 ± 0.0) | 10.0 ± 0.0 (+0.0 ± 0.0) | '
        '61.0 ± 1.0 (+10.0 ± 1.0) | 10.0 ± 0.0 (+0.0 ± 0.0) | 10.0 ± 0.0 (+0.0 ± 0.0) | 36.3 (+1.1) | 39.7 (+2.1) | '
        '35.8 (+2.8) |'
    )
    assert (tmp_path / 'work' / 'shapes' / 'val' / '000000.jpg').is_file()


def test_a_failure_is_named_and_is_the_exit_status(repo, tmp_path, capsys, monkeypatch):
    def figures(self, test, seed):
        self.failures[f'{test.training.name}/seed-{seed}'] = 'no disk'

    monkeypatch.setattr(Reproduction, 'figures', figures)
    with pytest.raises(SystemExit) as error:
        reproduce(repo, 6, '--work-dir', tmp_path)
    assert error.value.code == 1
    screen = capsys.readouterr().out
    assert 'failed: deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768/seed-0: no disk' in screen
    assert '78.4' in screen


def test_list_runs_nothing(repo, tmp_path, capsys):
    reproduce(repo, 7, *SMALL, '--seeds', 0, '--list', '--work-dir', tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Table 7: SemanticFPN'
    assert '  to train        pointrend_fpn_r18-w16/seed-0/test' in lines
    assert not (tmp_path / 'pointrend_fpn_r18-w16').exists()


def test_list_has_as_many_runs_as_the_paper(repo, tmp_path, capsys):
    reproduce(repo, 4, '--list', '--work-dir', tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Table 4: point selection in training, 14² points'
    runs = [line.split()[-1] for line in lines[1:]]
    model = 'pointrend_mask-rcnn_r50-caffe_fpn'
    for strategy in ('regular', 'uniform', 'heavily-biased'):
        coco = f'pointrend_r50-1x_196-points-{strategy}_coco'
        cityscapes = f'{model}_8xb1-24k_cityscapes_196-points-{strategy}'
        for name, test, count in (
            (coco, 'coco', 3),
            (coco, 'ap-star', 3),
            (cityscapes, 'cityscapes', 5),
        ):
            expected = [f'{name}/seed-{seed}/{test}' for seed in range(count)]
            assert [run for run in runs if run.startswith(name) and run.endswith(test)] == expected
    # The mildly biased one is the model of the other tables.
    assert f'{model}_8xb2-1x_coco/seed-0/coco' in runs
    assert len(runs) == 4 * (3 + 3 + 5)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((2,), 'Table 2 counts operations: call tools/analysis_tools/get_flops.py.'),
        ((8,), 'there is no Table 8 to run here: choose from 1, 3, 4, 5, 6, 7.'),
        ((5, '--mini'), 'there is no Table 5 to run here: choose from 1, 3, 4, 6, 7.'),
        ((6, '--checkpoint', 'a=/none.pth'), 'the checkpoint /none.pth does not exist.'),
    ],
)
def test_errors_in_a_sentence(repo, arguments, words):
    with pytest.raises(SystemExit) as error:
        reproduce(repo, *arguments)
    assert error.value.code == f'error: {words}'


def test_launcher_and_gpus_go_together(repo, capsys):
    with pytest.raises(SystemExit):
        reproduce(repo, 1, '--gpus', 8)
    assert '--launcher pytorch and --gpus N go together' in capsys.readouterr().err
