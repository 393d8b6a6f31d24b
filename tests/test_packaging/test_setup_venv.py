# Copyright (c) The mmpointrend authors.
"""requirements/setup_venv.sh where something is wrong, against an interpreter that plays its part.

The real set-up is what these tests run in.
"""

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
KEY = 'cp311-torch9.9.9-test'

# Answers as Python and pip would. Whether mmcv's operators import is told by the content of the
# wheel that was installed last.
FAKE_PYTHON = """#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/../calls"
case "$*" in
  *'import torch, mmcv._ext'*) grep -q works "$here/../installed" 2> /dev/null || {
    echo 'ImportError: undefined symbol: roi_align'; exit 1; } ;;
  *torch.__version__*) echo KEY ;;
  *get_path*) echo "$here" ;;
  *' wheel '*)
    [ "$COMPILED" = no ] && { echo 'error: command g++ failed'; exit 1; }
    while [ "$1" != --wheel-dir ]; do shift; done
    echo "$COMPILED" > "$2/mmcv-2.1.0-new.whl" ;;
  *' install '*.whl) for last; do :; done; cp "$last" "$here/../installed" ;;
esac
"""


class Machine:
    """A machine with a cache of wheels and a fake interpreter in its environment."""

    def __init__(self, folder: Path) -> None:
        self.venv = folder / 'venv'
        self.cache = folder / 'cache' / 'mmpointrend' / 'wheels' / KEY
        python = self.venv / 'bin' / 'python'
        python.parent.mkdir(parents=True)
        python.write_text(FAKE_PYTHON.replace('KEY', KEY))
        python.chmod(0o755)
        (python.parent / 'Python.h').touch()
        self.python = python
        self.folder = folder

    def set_up(self, compiled: str, python: Path | None = None) -> subprocess.CompletedProcess:
        """Run the script; ``compiled`` is what compiling gives: works, broken or no wheel at all."""
        return subprocess.run(
            [REPO / 'requirements' / 'setup_venv.sh', self.venv, python or self.python],
            env={
                'PATH': os.environ['PATH'],
                'XDG_CACHE_HOME': str(self.folder / 'cache'),
                'TMPDIR': str(self.folder),
                'COMPILED': compiled,
                'CXX': 'sh',
            },
            text=True,
            capture_output=True,
        )

    def calls(self) -> str:
        """Every command line that the interpreter got."""
        return (self.venv / 'calls').read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_compiles_keeps_and_reuses_the_wheel(machine: Machine) -> None:
    done = machine.set_up('works')
    assert done.returncode == 0, done.stderr
    assert [path.name for path in machine.cache.iterdir()] == ['mmcv-2.1.0-new.whl']
    assert machine.calls().count(' wheel ') == 1

    (machine.venv / 'installed').unlink()
    done = machine.set_up('no')
    assert done.returncode == 0, done.stderr
    assert 'the wheel compiled before' in done.stdout
    assert machine.calls().count(' wheel ') == 1


def test_wheel_that_does_not_import_is_compiled_again(machine: Machine) -> None:
    machine.cache.mkdir(parents=True)
    (machine.cache / 'mmcv-2.1.0-old.whl').write_text('broken')
    done = machine.set_up('works')
    assert done.returncode == 0, done.stderr
    assert [path.name for path in machine.cache.iterdir()] == ['mmcv-2.1.0-new.whl']


def test_fails_where_the_operators_do_not_import(machine: Machine) -> None:
    done = machine.set_up('broken')
    assert done.returncode == 1
    assert done.stderr == (
        '[set-up] FAILED: mmcv is compiled, but mmcv._ext does not import: '
        'ImportError: undefined symbol: roi_align\n'
    )
    assert 'mmpointrend itself' not in done.stdout


def test_fails_where_mmcv_does_not_compile(machine: Machine) -> None:
    done = machine.set_up('no')
    assert done.returncode == 1
    assert 'error: command g++ failed' in done.stderr
    assert '[set-up] FAILED: mmcv did not compile; the whole log: ' in done.stderr
    assert list(machine.cache.iterdir()) == []


def test_refuses_another_python(machine: Machine, tmp_path: Path) -> None:
    other = tmp_path / 'python3.12'
    other.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.12.1 || exit 1\n')
    other.chmod(0o755)
    done = machine.set_up('works', python=other)
    assert done.returncode == 1
    assert done.stderr == (
        f'[set-up] FAILED: {other} is Python 3.12.1, the pinned packages are for CPython 3.11: '
        'pass PYTHON=python3.11\n'
    )
