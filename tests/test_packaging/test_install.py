# Copyright (c) The mmpointrend authors.
"""``pip install .`` and ``pip install -e .``, then mim and a downstream project, by real commands.

Each command runs outside the repository: from its root everything seems to work.
"""

import re
from email import message_from_string
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from mmpointrend.engine.checkpoint import allow_mmengine_checkpoints
from mmpointrend.version import NEIGHBOURS, __version__

REPO = Path(__file__).resolve().parents[2]
CONFIGS = {
    'instance': 'pointrend_mask-rcnn_r18-w16_fpn_*.py',
    'semantic': 'pointrend_fpn-p3-p5_r18-w16_*.py',
}
# Two iterations on two small images, from random weights.
TINY = {
    'load_from': None,
    'model.backbone.init_cfg': None,
    'model.neck.init_cfg': None,
    'train_cfg.max_iters': 2,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.checkpoint.interval': 2,
}
TINY_OPTIONS = ['--cfg-options', *(f'{key}={value}' for key, value in TINY.items())]

# Heads of a downstream project, and the config that swaps each in.
DOWNSTREAM = {
    'instance': (
        """
import torch
from mmpointrend.models import MaskPointHead
from mmpointrend.registry import MODELS

@MODELS.register_module()
class GainPointHead(MaskPointHead):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, features, coarse, classes=None):
        return self.gain * super().forward(features, coarse, classes)
""",
        "model = dict(roi_head=dict(point_head=dict(type='mmpointrend.GainPointHead')))",
        'roi_head.point_head.gain',
    ),
    'semantic': (
        """
import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

@MODELS.register_module()
class GainCoarseHead(BaseDecodeHead):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs):
        return self.cls_seg(self.gain * self._transform_inputs(inputs))
""",
        """model = dict(decode_head=dict(coarse_head=dict(
    _delete_=True, type='GainCoarseHead', in_channels=48, in_index=1, channels=48,
    num_classes=2, align_corners=False)))""",
        'decode_head.coarse_head.gain',
    ),
}


def shapes_config(task: str) -> Path:
    """The one PointRend config of a task on the generated dataset."""
    (path,) = REPO.glob(f'configs/shapes/{CONFIGS[task]}')
    return path


def shipped(root: Path) -> list[str]:
    """What has to be in ``.mim``, and what is there: paths below ``root``."""
    wanted = ('.py', '.sh', '.yml', '.md')
    files = (p for folder in ('configs', 'tools') for p in root.joinpath(folder).rglob('*'))
    names = [str(p.relative_to(root)) for p in files if p.suffix in wanted]
    return sorted([*names, *(['model-index.yml'] if (root / 'model-index.yml').is_file() else [])])


@pytest.fixture(scope='session', params=['wheel', 'editable'])
def env(request):
    """The package installed in one way, with a dataset that its own tool has made."""
    env = request.getfixturevalue(f'{request.param}_env')
    if not env.data.exists():
        size = ('--train', 2, '--val', 1, '--size', 96, '--one-class')
        output = env.mim('run', 'mmpointrend', 'make_shapes', env.data, *size)
        assert '.mim/tools/dataset_converters/make_shapes.py' in output
    return env


def test_wheel_holds_the_files_themselves(wheel_env) -> None:
    mim = wheel_env.site / 'mmpointrend' / '.mim'
    assert shipped(mim) == shipped(REPO)
    assert [path for path in mim.rglob('*') if path.is_symlink()] == []


def test_wheel_metadata(wheel_env) -> None:
    info = wheel_env.site / f'mmpointrend-{__version__}.dist-info'
    record = (info / 'RECORD').read_text()
    files = [line.partition(',')[0] for line in record.splitlines()]
    assert {name for name in files if name.startswith('..')} == {'../../../bin/mmpointrend'}
    tops = {name.partition('/')[0] for name in files} - {'..', '__pycache__'}
    assert tops == {'mmpointrend', 'mmpointrend_command.py', info.name}
    assert any(name == 'mmpointrend/py.typed' for name in files)
    assert (info / 'licenses' / 'LICENSE').read_text() == (REPO / 'LICENSE').read_text()
    metadata = message_from_string((info / 'METADATA').read_text())
    required = {
        requirement.name: requirement
        for requirement in map(Requirement, metadata.get_all('Requires-Dist'))
    }
    assert required['setuptools'].specifier == Requirement('setuptools>=77.0.3,<82').specifier
    # pip would build mmcv without its operators: only on request.
    assert str(required['mmcv'].marker) == 'extra == "mim"'
    # pip would put a newer torch under an mmcv that is compiled against the old one.
    assert 'torch' not in required
    for name in set(NEIGHBOURS) - {'torch'}:
        accepted = NEIGHBOURS[name]
        assert required[name].specifier == Requirement(name + accepted).specifier


def test_editable_install_leads_to_the_source(editable_env) -> None:
    code = (
        'from mim.utils import get_installed_path; import mmpointrend;'
        "print(get_installed_path('mmpointrend'), mmpointrend.__file__)"
    )
    package = editable_env.source / 'mmpointrend'
    assert editable_env.run('-c', code).split() == [str(package), str(package / '__init__.py')]
    assert shipped(package / '.mim') == shipped(REPO)


def test_mim_search(env) -> None:
    output = env.mim('search', 'mmpointrend', '--valid-config')
    configs = [path.stem for path in REPO.glob('configs/[!_]*/*.py')]
    assert sorted(re.findall(r"'([^']+)'", output)) == sorted(configs)


@pytest.mark.parametrize(
    ('env', 'task', 'metrics'),
    [
        ('wheel', 'instance', {'bbox_mAP', 'segm_mAP', 'boundary_mAP'}),
        ('editable', 'semantic', {'mIoU', 'mBoundaryIoU'}),
    ],
    indirect=['env'],
)
def test_mim_train_and_test(env, task: str, metrics: set[str]) -> None:
    config = shapes_config(task).name
    work_dir = env.folder / 'trained'
    output = env.mim('train', 'mmpointrend', config, '--work-dir', work_dir, *TINY_OPTIONS)
    assert 'Training finished successfully' in output
    checkpoint = work_dir / 'iter_2.pth'
    arguments = ('--checkpoint', checkpoint, '--work-dir', work_dir, *TINY_OPTIONS)
    output = env.mim('test', 'mmpointrend', config, *arguments)
    assert 'Testing finished successfully' in output
    assert {metric for metric in metrics if metric in output} == metrics


@pytest.mark.parametrize(
    ('env', 'task'), [('wheel', 'semantic'), ('editable', 'instance')], indirect=['env']
)
def test_downstream_project_trains_its_head(env, task: str, tmp_path: Path) -> None:
    head, change, parameter = DOWNSTREAM[task]
    (tmp_path / 'my_heads.py').write_text(head)
    (tmp_path / 'my_config.py').write_text(
        f"_base_ = 'mmpointrend::shapes/{shapes_config(task).name}'\n"
        f"custom_imports = dict(imports=['my_heads'])\n{change}\n"
    )
    arguments = ('my_config.py', '--work-dir', 'runs', *TINY_OPTIONS)
    env.mim('train', 'mmpointrend', *arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    allow_mmengine_checkpoints()
    state = torch.load(tmp_path / 'runs' / 'iter_2.pth', weights_only=True)['state_dict']
    assert state[parameter].item() != 1
