# Copyright (c) The mmpointrend authors.
"""The whole demo in miniature: every stage for two iterations, through its own command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

DEMO = Path(__file__).resolve().parents[2] / 'demo' / 'demo.py'
STAGES = ('trunk', 'mask_standard', 'mask_pointrend', 'semantic_standard', 'semantic_pointrend')


def _run(out: Path, *options: str) -> str:
    """What the demo prints at its smallest."""
    sizes = ['--train', '6', '--val', '2', '--size', '128', '--iters', '2', '--threads', '1']
    done = subprocess.run(
        [sys.executable, str(DEMO), '--out', str(out), *sizes, *options],
        capture_output=True,
        text=True,
        cwd=DEMO.parents[1],
        env={**os.environ, 'PYTHONPATH': str(DEMO.parents[1])},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope='module')
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and screen of one run of the demo."""
    out = tmp_path_factory.mktemp('demo')
    return out, _run(out)


def test_both_tasks_are_compared_in_one_table(demo):
    out, screen = demo
    rows = json.loads((out / 'results.json').read_text())
    assert [title for title, *_ in rows] == [
        'mask AP',
        'Boundary AP',
        'mask IoU on ground-truth boxes',
        'boundary IoU on ground-truth boxes',
        'mIoU',
        'boundary IoU, 2 % of the diagonal',
        'boundary IoU, 0.5 % of the diagonal',
    ]
    for title, standard, pointrend in rows:
        assert 0 <= standard <= 100 and 0 <= pointrend <= 100, title
        line = next(row for row in screen.splitlines() if f' {title} ' in row)
        assert f'{pointrend - standard:+.1f}' in line


def test_pictures_of_predictions_and_steps(demo):
    out, screen = demo
    for task in ('mask', 'semantic'):
        for name in (f'{task}_1', f'{task}_1_steps', f'{task}_2', f'{task}_2_steps'):
            picture = cv2.imread(str(out / f'{name}.png'))
            assert picture is not None and min(picture.shape[:2]) > 300, name
            assert picture.std() > 10, name
            assert f'{name}.png' in screen.replace('\n', '')


def test_finished_stages_are_kept_and_a_change_redoes_what_follows(demo):
    out, _ = demo
    checkpoints = [out / stage / 'last.pth' for stage in STAGES]
    before = [path.stat().st_mtime_ns for path in checkpoints]
    (out / 'semantic_pointrend' / 'result.json').unlink()
    _run(out)
    after = [path.stat().st_mtime_ns for path in checkpoints]
    assert after[:4] == before[:4]
    assert after[4] > before[4]
