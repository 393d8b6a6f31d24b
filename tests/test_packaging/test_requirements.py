# Copyright (c) The mmpointrend authors.
"""What we say that we need is what we import, and what the locked environment holds."""

import ast
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mmpointrend
from mmpointrend.version import NEIGHBOURS

REPO = Path(__file__).resolve().parents[2]
# Modules whose distribution has another name.
DISTRIBUTIONS = {
    'cv2': 'opencv-python',
    'mmseg': 'mmsegmentation',
    'PIL': 'pillow',
    'yaml': 'pyyaml',
}
# Comes with matplotlib, which is declared.
CARRIED = {'pillow'}


def read(name: str) -> list[Requirement]:
    lines = (REPO / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def imported_modules(*folders: str) -> set[str]:
    """Top-level modules that the code imports, those of the standard library left out."""
    names = set()
    for folder in folders:
        for file in REPO.joinpath(folder).rglob('*.py'):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition('.')[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names.add(node.module.partition('.')[0])
    return names - set(sys.stdlib_module_names) - {'mmpointrend'}


def test_every_import_is_declared() -> None:
    # A tool in several files imports the others from its own folder.
    beside = {path.stem for path in (REPO / 'tools').rglob('*.py')}
    needed = [*read('runtime'), *read('cityscapes'), *read('supervision')]
    declared = {canonicalize_name(requirement.name) for requirement in needed}
    declared |= set(NEIGHBOURS) | CARRIED
    used = {
        canonicalize_name(DISTRIBUTIONS.get(module, module))
        for module in imported_modules('mmpointrend', 'tools') - beside
    }
    assert used - declared == set()


def test_lock_satisfies_every_range() -> None:
    lock = {canonicalize_name(r.name): next(iter(r.specifier)).version for r in read('lock')}
    # mmengine and mmdet need cv2; the headless build provides it without the system's libGL.
    lock['opencv-python'] = lock['opencv-python-headless']
    script = (REPO / 'requirements' / 'setup_venv.sh').read_text()
    lock['mmcv'] = script.partition('mmcv_version=')[2].split()[0]
    wanted = [Requirement(name + accepted) for name, accepted in NEIGHBOURS.items()]
    files = ('runtime', 'cityscapes', 'tests', 'lint')
    for requirement in [*wanted, *(entry for name in files for entry in read(name))]:
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), (
            requirement
        )


def test_lock_pins_exactly() -> None:
    for requirement in read('lock'):
        assert [spec.operator for spec in requirement.specifier] == ['=='], requirement


def test_other_neighbour_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(
        mmpointrend, 'installed_version', lambda name: '2.2.0' if name == 'mmcv' else real(name)
    )
    with pytest.raises(ImportError) as error:
        mmpointrend._check_neighbours()
    assert str(error.value) == (
        f'mmpointrend {mmpointrend.__version__} needs mmcv>=2.1.0,<2.2.0, but mmcv 2.2.0 is '
        'installed: pip install "mmcv>=2.1.0,<2.2.0"'
    )


def test_torch_with_the_hole_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmpointrend, 'installed_version', lambda name: '2.9.1+cpu')
    with pytest.raises(ImportError, match=r'torch>=2\.10 \(.*CVE-2026-24747\), but torch 2\.9\.1'):
        mmpointrend._check_neighbours()


def test_local_version_is_accepted_and_missing_one_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == 'torch':
            return '2.13.0+cpu'
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(mmpointrend, 'installed_version', version)
    mmpointrend._check_neighbours()
