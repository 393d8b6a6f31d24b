# Copyright (c) The mmpointrend authors.
"""``import mmpointrend``, in fresh processes: what it sets up, and what it does without."""

import subprocess
import sys
from pathlib import Path

import torch
from mmengine.logging import HistoryBuffer
from torch import nn


def run(code: str, *arguments: object, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_points_work_with_torch_alone(tmp_path):
    code = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'mmengine', 'mmcv', 'mmdet', 'mmseg', 'numpy', 'packaging', 'cv2'}:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Nothing())
import torch
from mmpointrend.points import subdivide
fine = subdivide(
    torch.zeros(1, 1, 4, 4), lambda points: torch.ones(1, 1, points.shape[1]), num_points=4, steps=1
)
print(tuple(fine.shape))
"""
    assert run(code, folder=tmp_path) == '(1, 1, 8, 8)'


def test_alone_it_lets_mmengine_load_its_checkpoints(tmp_path):
    history = dict(log_scalars=dict(loss=HistoryBuffer([3.0, 1.0], [1, 1])))
    content = dict(state_dict=nn.Linear(1, 1).state_dict(), message_hub=history)
    torch.save(content, tmp_path / 'a.pth')
    code = """
import sys
import mmpointrend
print([name for name in ('mmcv', 'mmdet', 'mmseg') if name in sys.modules])
from mmengine.runner.checkpoint import CheckpointLoader
loaded = CheckpointLoader.load_checkpoint(sys.argv[1])
from mmpointrend.errors import CheckpointError
try:
    CheckpointLoader.load_checkpoint('http://127.0.0.1:9/a.pth')
except CheckpointError as error:
    print([name for name in ('mmcv', 'mmdet', 'mmseg') if name in sys.modules],
          loaded['message_hub']['log_scalars']['loss'].mean())
"""
    assert run(code, tmp_path / 'a.pth', folder=tmp_path) == '[] 2.0'
