# Copyright (c) The mmpointrend authors.
"""``import mmpointrend``, in fresh processes: what it sets up, and what it does without."""

import subprocess
import sys
from pathlib import Path

import pytest
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


# Lets nothing be imported but torch with what it needs, Python's own modules and ours.
TORCH_ALONE = """
import sys
import importlib.machinery
import importlib.metadata as metadata
from packaging.requirements import Requirement

def plain(name):
    return name.lower().replace('_', '-').replace('.', '-')

def needed(name):
    found = {plain(name)}
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({'extra': ''}):
            try:
                found |= needed(requirement.name)
            except metadata.PackageNotFoundError:
                pass
    return found

modules = metadata.packages_distributions()
kept = needed('torch')
allowed = {name for name, owners in modules.items() if kept & set(map(plain, owners))}
allowed |= {'mmpointrend', *sys.stdlib_module_names}
hidden = []
class Allowed(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        # Python's sysconfig reads a module that carries the platform's name.
        if name.partition('.')[0] in allowed or name.startswith('_sysconfigdata'):
            return super().find_spec(name, path, target)
        hidden.append(name)
        return None
for name in list(sys.modules):
    if name.partition('.')[0] == 'packaging':
        del sys.modules[name]
sys.meta_path = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, Allowed]
"""


def test_points_work_with_torch_alone(tmp_path):
    code = """
import torch
from mmpointrend.points import PointMLP, point_predictor, subdivide
head, coarse = PointMLP(8, 3, 4, 3).eval(), torch.randn(2, 3, 4, 4)
predict = point_predictor(head, [torch.randn(2, 8, 9, 9)], coarse, None, num_points=99)
with torch.no_grad():
    fine = subdivide(coarse, lambda points: predict(points, [points]), num_points=4, steps=2)
assert {'mmengine', 'packaging'} <= set(hidden), hidden
print(tuple(fine.shape))
"""
    assert run(TORCH_ALONE + code, folder=tmp_path) == '(2, 3, 16, 16)'


def test_models_say_what_they_need_where_torch_is_alone(tmp_path):
    code = """
try:
    import mmpointrend.models
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(TORCH_ALONE + code, folder=tmp_path).startswith("No module named 'mm")


@pytest.mark.parametrize(('name', 'version'), [('mmcv', '2.0.0'), ('mmdet', '3.0.0')])
def test_a_neighbour_that_is_too_old_is_named(name, version, tmp_path):
    code = """
import importlib.metadata, sys
name, version = sys.argv[1:]
installed = importlib.metadata.version
importlib.metadata.version = lambda asked: version if asked == name else installed(asked)
try:
    import mmpointrend.models
except ImportError as error:
    print(error)
"""
    said = run(code, name, version, folder=tmp_path)
    assert f'but {name} {version} is installed: pip install "{name}>=' in said


def test_a_neighbour_that_is_broken_is_left_to_say_so(tmp_path):
    """mmengine is there, what it imports is not: the core works, models pass its words on."""
    code = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name == 'mmengine.config':
            raise ImportError('libnothing.so.1: cannot open shared object file')
sys.meta_path.insert(0, Nothing())
import mmpointrend.points
try:
    import mmpointrend.models
except ImportError as error:
    print(error)
"""
    assert run(code, folder=tmp_path) == 'libnothing.so.1: cannot open shared object file'


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
