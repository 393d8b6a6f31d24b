# Copyright (c) The mmpointrend authors.
"""Fresh environments with the package installed in them, as a user would have it."""

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
NOT_SOURCE = (
    '.git',
    '.venv',
    '.*_cache',
    '*.egg-info',
    '__pycache__',
    'build',
    'work_dirs',
    'tests',
)


@dataclass
class Environment:
    """An environment of its own, and a folder outside the repository to work in.

    Attributes:
        python: Its interpreter.
        site: Its site-packages.
        source: The copy of the repository that was installed.
        folder: Where commands run.
        data: A generated dataset of both tasks.
    """

    python: Path
    site: Path
    source: Path
    folder: Path
    data: Path

    def run(self, *arguments: object, cwd: Path | None = None, **variables: str) -> str:
        """Output of ``python ARGUMENTS``, run outside the repository; fails with that output."""
        env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        env |= {'HOME': str(self.folder), 'SHAPES_ROOT': f'{self.data}/', **variables}
        env |= {'OMP_NUM_THREADS': '1', 'PYTHONWARNINGS': 'ignore'}
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=cwd or self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def mim(self, *arguments: object, cwd: Path | None = None, **variables: str) -> str:
        """Output of ``mim ARGUMENTS``."""
        return self.run('-m', 'mim', *arguments, cwd=cwd, **variables)


def _install(folder: Path, *options: str) -> Environment:
    """The package, installed after a build of an earlier version, in an environment of its own.

    The environment holds nothing else; the heavy packages are borrowed from the one we run in.
    """
    venv.create(folder / 'venv', symlinks=True)
    site = next((folder / 'venv' / 'lib').glob('python3*/site-packages'))
    borrowed = [path for path in sys.path if path.endswith('-packages')]
    (site / 'borrowed.pth').write_text('\n'.join(borrowed) + '\n')
    source = folder / 'source'
    shutil.copytree(REPO, source, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    earlier = source / 'build' / 'lib' / 'mmpointrend' / '.mim' / 'configs' / 'earlier.py'
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    (folder / 'outside').mkdir()
    env = Environment(
        python=folder / 'venv' / 'bin' / 'python',
        site=site,
        source=source,
        folder=folder / 'outside',
        data=folder / 'shapes',
    )
    pip = ('-m', 'pip', 'install', '--no-index', '--no-deps', '--no-build-isolation')
    env.run(*pip, *options, source)
    return env


@pytest.fixture(scope='session')
def wheel_env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """After ``pip install .``; the source is gone."""
    env = _install(tmp_path_factory.mktemp('wheel'))
    shutil.rmtree(env.source)
    return env


@pytest.fixture(scope='session')
def editable_env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """After ``pip install -e .``."""
    return _install(tmp_path_factory.mktemp('editable'), '-e')
