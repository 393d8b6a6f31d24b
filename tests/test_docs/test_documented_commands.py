# Copyright (c) The mmpointrend authors.
"""Every command of README, getting_started.md and migration.md runs as it stands there, or is listed here with the
reason why not, and then what it names exists."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import commands
from tiny_runs import stop_workers

from mmpointrend.cli import app, main
from mmpointrend.engine.config_files import find_config_file
from mmpointrend.engine.launch import _parser
from mmpointrend.version import NEIGHBOURS

PAGES = ('README.md', 'docs/getting_started.md', 'docs/migration.md')
MODEL = 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'

INSTALLS = 'installs packages'
LONG = 'trains or tests for minutes; tests/test_demo and .ci/run do it'
DATA = 'needs data sets or weights that are not here'
ENVIRONMENT = 'needs docker or conda'

# Not run, and why.
NOT_RUN = {
    'make demo': LONG,
    'make test': LONG,
    'pip install .': INSTALLS,
    f'mim train mmpointrend {MODEL}.py': DATA,
    'mim test mmpointrend CONFIG --checkpoint CHECKPOINT': DATA,
    'mim search mmpointrend --valid-config': 'tests/test_packaging/test_install.py runs it',
    "pip install 'torch>=2.10' 'setuptools>=77.0.3,<82' wheel ninja psutil": INSTALLS,
    "HEADER=torch/types.h 'HEADER_FOLDER=$(mktemp' '-d)' 'CXX=$PWD/requirements/cxx_with_header.sh' "
    "MMCV_WITH_OPS=1 pip install --no-cache-dir --no-build-isolation --no-binary mmcv 'mmcv>=2.1.0,<2.2.0'": INSTALLS,
    'conda create -n pointrend python=3.11 gxx_linux-64 ninja': ENVIRONMENT,
    'conda activate pointrend': ENVIRONMENT,
    'docker build -f docker/Dockerfile -t mmpointrend .': ENVIRONMENT,
    "docker run --rm -v '$PWD:/work' mmpointrend doctor": ENVIRONMENT,
    'mmpointrend test point-rend_r50-caffe_fpn_ms-1x_coco.py '
    'point_rend_r50_caffe_fpn_mstrain_1x_coco-1bcb5fb4.pth': DATA,
    'mmpointrend test pointrend_r50.py pointrend_r50_512x1024_80k_cityscapes_20200711_015821-bb1ff523.pth': DATA,
    'mmpointrend convert-weights model_final_736f5a.pkl pointrend_r50_1x.pth': DATA,
    f'mmpointrend predict street.jpg --model {MODEL} --weights pointrend_r50_1x.pth --out masks': DATA,
}
# Run, in this order, and what is there afterwards.
RUN = {
    f'mmpointrend predict street.jpg --model {MODEL} --weights w.pth --out masks': ['masks'],
    'mmpointrend doctor': [],
    "python -c 'import torch, mmcv, mmcv._ext; print(torch.__version__, mmcv.__version__)'": [],
    f'mmpointrend predict street.jpg photos --model {MODEL} --weights w.pth --out masks': ['masks'],
    'mmpointrend doctor mine.py': [],
    'mmpointrend train mine.py': ['work_dirs/mine/iter_2.pth'],
    'mmpointrend doctor labels.py': [],
    'mmpointrend train labels.py --cfg-options train_cfg.max_iters=4000 param_scheduler.1.end=4000': [
        'work_dirs/labels/iter_2.pth'
    ],
    'mmpointrend train mine.py --resume': [],
    'mmpointrend test mine.py work_dirs/mine/iter_4000.pth --show-dir pictures': ['pictures'],
    'mmpointrend predict photos --model mine.py --weights work_dirs/mine/iter_4000.pth --out masks': [
        'masks'
    ],
}


def all_commands(repo: Path) -> list[str]:
    return [command for page in PAGES for command in commands(repo / page)]


def test_every_command_is_run_or_listed(repo):
    found = set(all_commands(repo))
    assert found - set(RUN) - set(NOT_RUN) == set()
    assert (set(RUN) | set(NOT_RUN)) - found == set()
    assert not set(RUN) & set(NOT_RUN)


@pytest.mark.parametrize('command', RUN)
def test_runs(command, at_home, request):
    program, *words = shlex.split(command)
    if program == 'python':
        subprocess.run([sys.executable, *words], check=True, cwd='/', stdout=subprocess.DEVNULL)
        return
    if 'iter_4000' in command and not (at_home / 'work_dirs/mine/iter_4000.pth').exists():
        # The run of the page is 4000 iterations long, ours 2.
        if not (at_home / 'work_dirs/mine/iter_2.pth').exists():
            run_mmpointrend(['train', 'mine.py'])
        shutil.copy(at_home / 'work_dirs/mine/iter_2.pth', at_home / 'work_dirs/mine/iter_4000.pth')
    shutil.rmtree(at_home / 'masks', ignore_errors=True)
    run_mmpointrend([word.replace('max_iters=4000', 'max_iters=2') for word in words])
    for name in RUN[command]:
        path = at_home / name
        assert path.is_file() or any(path.rglob('*.*')), f'{name} is not there'


def run_mmpointrend(words: list[str]) -> None:
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, end.code
    finally:
        stop_workers()


@pytest.mark.parametrize('command', NOT_RUN)
def test_what_is_not_run_names_what_there_is(command, repo):
    words = shlex.split(command)
    while re.match(r'[A-Z_]+=|-d\)', words[0]):
        assert 'requirements/' not in words[0] or (repo / words[0].partition('$PWD/')[2]).is_file()
        words = words[1:]
    program, *words = words
    if program == 'make':
        assert re.search(rf'^{words[0]}:.*##', (repo / 'Makefile').read_text(), re.M)
    elif program == 'mmpointrend':
        check_arguments(words)
    elif program == 'mim':
        assert words[1] == 'mmpointrend' and words[0] in ('train', 'test', 'search')
        if words[2].endswith('.py'):
            find_config_file(words[2].removesuffix('.py'))
    elif program == 'pip':
        for word in words:
            name, floor, rest = word.partition('>')
            if name in NEIGHBOURS and floor:
                assert floor + rest == NEIGHBOURS[name]
    elif program == 'docker':
        assert '-f' not in words or (repo / words[words.index('-f') + 1]).is_file()
    else:
        assert program == 'conda'


def check_arguments(words: list[str]) -> None:
    """Whether a subcommand takes these arguments."""
    if words[0] in ('train', 'test'):
        known = {
            option for action in _parser('', None)._actions for option in action.option_strings
        }
        assert {word for word in words if word.startswith('-')} <= known
        return
    group: Any = typer.main.get_command(app)
    group.commands[words[0]].make_context(words[0], words[1:])
    if '--model' in words:
        find_config_file(words[words.index('--model') + 1])


def test_every_command_line_tool_has_the_subcommands_of_the_pages(repo):
    used = {shlex.split(c)[1] for c in all_commands(repo) if c.startswith('mmpointrend ')}
    assert used <= set(typer.main.get_command(app).commands)
