# Copyright (c) The mmpointrend authors.
"""What is run, what is not run again, and what becomes of failures; the runs themselves are fakes."""

import json
import sys
from pathlib import Path

import pytest
import torch

from mmpointrend.datasets.shapes import write_missing
from mmpointrend.reproduction import (
    Column,
    Evaluation,
    Launch,
    Reproduction,
    Row,
    RunError,
    Table,
    runs,
)
from mmpointrend.reproduction import Training as TrainingRun
from mmpointrend.reproduction.runs import Command, execute

TRUNK = TrainingRun('trunk', 'toy/trunk')
HEAD = TrainingRun('head', 'toy/head', {'width': 3}, {'length': 5}, {'TRUNK': TRUNK})
TEST, OTHER = Evaluation(HEAD), Evaluation(HEAD, 'other', 'toy/other', {'deep.size': 7})


class FakeTools:
    """Stands for the processes: notes what it is asked, and leaves what the tools would leave."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.broken = ''

    def __call__(self, command: Command) -> None:
        self.commands.append(command)
        folder = Path(command.arguments[command.arguments.index('--work-dir') + 1])
        if self.broken and self.broken in str(folder):
            raise RunError('no disk')
        if Path(command.arguments[1]).name == 'train.py':
            torch.save({'state_dict': {}}, folder / 'iter_5.pth')
            (folder / 'last_checkpoint').write_text(str(folder / 'iter_5.pth'))
        else:
            log = folder / '20260101_000000' / '20260101_000000.json'
            log.parent.mkdir()
            log.write_text(json.dumps({'AP': 0.1 * len(self.commands), 'note': 'a word'}))

    @property
    def folders(self) -> list[str]:
        """Last parts of the folders that were run in."""
        return ['/'.join(command.log.parent.parts[-3:]) for command in self.commands]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Configs of a toy package."""
    folder = tmp_path / 'home' / 'configs' / 'toy'
    folder.mkdir(parents=True)
    for name in ('trunk', 'head', 'other'):
        (folder / f'{name}.py').write_text(f'name = {name!r}\nwidth = 1\ndeep = dict(size=1)\n')
    monkeypatch.setattr(runs, 'HOME', tmp_path / 'home')
    return folder


@pytest.fixture
def tools(home) -> FakeTools:
    return FakeTools()


def reproduction(tmp_path: Path, tools: FakeTools, **settings) -> Reproduction:
    return Reproduction(tmp_path / 'work', run=tools, **settings)


def arguments_after(command: Command, flag: str) -> list[str]:
    """Values of a flag, up to the next flag."""
    rest = command.arguments[command.arguments.index(flag) + 1 :]
    end = next((i for i, word in enumerate(rest) if word.startswith('--')), len(rest))
    return list(rest[:end])


def test_a_training_comes_after_what_it_starts_from_and_before_its_tests(tmp_path, tools):
    work = reproduction(tmp_path, tools, environment={'DATA': 'here'}, options={'extra': 1})
    assert work.figures(TEST, seed=4) == pytest.approx({'AP': 0.3})
    assert work.figures(OTHER, seed=4) == pytest.approx({'AP': 0.4})
    trunk, head, test, other = tools.commands
    folder = tmp_path / 'work' / 'head' / 'seed-4'
    assert trunk.environment == {'DATA': 'here'}
    start = str(tmp_path / 'work' / 'trunk' / 'seed-4' / 'iter_5.pth')
    assert head.environment == {'DATA': 'here', 'TRUNK': start}
    assert head.arguments[:3] == (
        sys.executable,
        str(tmp_path / 'home' / 'tools' / 'train.py'),
        str(tmp_path / 'home' / 'configs' / 'toy' / 'head.py'),
    )
    assert '--resume' in head.arguments
    options = ['width=3', 'length=5', 'extra=1', 'randomness.seed=4']
    assert arguments_after(head, '--cfg-options') == options
    assert arguments_after(test, '--cfg-options') == ['width=3', 'extra=1']
    assert arguments_after(other, '--cfg-options') == ['width=3', 'deep.size=7', 'extra=1']
    assert other.arguments[2:4] == (
        str(tmp_path / 'home' / 'configs' / 'toy' / 'other.py'),
        str(folder / 'iter_5.pth'),
    )


def test_what_is_finished_is_not_run_again(tmp_path, tools):
    first = reproduction(tmp_path, tools)
    figures = first.figures(TEST, 0)
    again = reproduction(tmp_path, tools)
    assert again.figures(TEST, 0) == figures
    assert len(tools.commands) == 3
    again.figures(OTHER, 0)  # only the test that is missing
    again.figures(TEST, 1)  # another seed is another run
    assert tools.folders[3:] == [
        'head/seed-0/other',
        'work/trunk/seed-1',
        'work/head/seed-1',
        'head/seed-1/test',
    ]


def test_a_training_that_was_stopped_goes_on(tmp_path, tools):
    tools.broken = 'work/head/seed-0'
    stopped = reproduction(tmp_path, tools)
    assert stopped.figures(TEST, 0) is None
    kept = tmp_path / 'work' / 'head' / 'seed-0' / 'iter_3.pth'
    torch.save({}, kept)
    tools.broken = ''
    assert reproduction(tmp_path, tools).figures(TEST, 0) is not None
    assert tools.folders == ['work/trunk/seed-0', *['work/head/seed-0'] * 2, 'head/seed-0/test']
    assert kept.is_file()  # --resume finds it


def test_a_run_of_another_config_is_kept_unless_redone(tmp_path, tools, home):
    reproduction(tmp_path, tools).figures(TEST, 0)
    (home / 'head.py').write_text('name = "head"\nwidth = 2\nnew = 1\n')
    work = reproduction(tmp_path, tools)
    assert work.figures(TEST, 0) is None
    assert 'holds a run of another config: call with --redo' in work.failures['head/seed-0']
    assert len(tools.commands) == 3
    assert reproduction(tmp_path, tools, redo=True).figures(TEST, 0) is not None
    assert tools.folders[3:] == ['work/head/seed-0', 'head/seed-0/test']


def test_a_change_of_the_trunk_or_of_the_data_is_one_of_the_head(tmp_path, tools, home):
    reproduction(tmp_path, tools, data='a').figures(TEST, 0)
    assert reproduction(tmp_path, tools, data='b').figures(TEST, 0) is None
    (home / 'trunk.py').write_text('name = "trunk"\nwidth = 9\n')
    work = reproduction(tmp_path, tools, data='a')
    assert work.figures(TEST, 0) is None
    assert set(work.failures) == {'trunk/seed-0', 'head/seed-0'}


def test_a_failure_is_named_once_and_the_rest_goes_on(tmp_path, tools):
    tools.broken = 'head/seed-1'
    said: list[str] = []
    work = reproduction(tmp_path, tools, tell=said.append)
    results = [work.figures(test, seed) for seed in (0, 1, 2) for test in (TEST, OTHER)]
    assert [result is None for result in results] == [False, False, True, True, False, False]
    log = tmp_path / 'work' / 'head' / 'seed-1' / 'log.txt'
    assert work.failures == {'head/seed-1': f'no disk (see {log})'}
    assert tools.folders.count('work/head/seed-1') == 1
    assert [line for line in said if 'FAILED' in line] == [
        f'head/seed-1: FAILED: no disk (see {log})'
    ]


def test_weights_that_are_given_are_not_trained(tmp_path, tools):
    weights = tmp_path / 'published.pth'
    weights.write_bytes(b'weights')
    work = reproduction(tmp_path, tools, checkpoints={'head': weights})
    assert work.figures(TEST, 0) is not None
    assert tools.folders == ['head/seed-0/test']
    assert tools.commands[0].arguments[3] == str(weights)
    weights.write_bytes(b'others, longer')
    reproduction(tmp_path, tools, checkpoints={'head': weights}).figures(TEST, 0)
    assert len(tools.commands) == 2


def test_nothing_is_trained_where_only_tests_are_wanted(tmp_path, tools):
    work = reproduction(tmp_path, tools, test_only=True)
    assert work.figures(TEST, 0) is None
    assert tools.commands == []
    assert work.failures['head/seed-0'] == 'it starts from trunk, which there is not'


def test_states(tmp_path, tools, home):
    missing = Evaluation(TrainingRun('none', 'toy/none'))
    rows = (Row('head', {'a': TEST, 'b': OTHER}), Row('none', {'a': missing}))
    table = Table(9, 'states', (Column('AP', 'a', 'AP'), Column('AP', 'b', 'AP')), rows)
    work = reproduction(tmp_path, tools)
    names = ['head/seed-0/test', 'head/seed-0/other', 'none/seed-0/test']

    def states() -> list[str]:
        found = work.states(table, [0])
        assert [name for name, _ in found] == names
        return [state for _, state in found]

    assert states() == ['to train', 'to train', 'no config']
    tools.broken = 'work/head/seed-0'
    work.figures(TEST, 0)
    assert states()[0] == 'to go on with'
    tools.broken = ''
    work = reproduction(tmp_path, tools)
    work.figures(TEST, 0)
    assert states() == ['done', 'to test', 'no config']
    (home / 'head.py').write_text('name = "changed"\n')
    work = reproduction(tmp_path, tools)
    assert states()[:2] == ['changed since', 'changed since']


def test_torchs_launcher_goes_through_the_scripts(home, tmp_path):
    tools = tmp_path / 'home' / 'tools'
    launch = Launch(gpus=8)
    assert launch.command('train', 'a.py') == ('bash', f'{tools}/dist_train.sh', 'a.py', '8')
    assert launch.command('test', 'a.py', 'w.pth') == (
        *('bash', f'{tools}/dist_test.sh', 'a.py', 'w.pth', '8'),
    )


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('import sys; print("noise"); sys.exit("error: the data are not there.")', 'the data are'),
        ('print("x")\nraise ValueError("of a kind")\n', 'ValueError: of a kind'),
        (
            'import sys\nprint("[rank1]: RuntimeError: unused")\n'
            'print("torch.distributed.elastic.ChildFailedError: ")\nsys.exit(1)',
            '^RuntimeError: unused',
        ),
        ('import sys; print("the end"); sys.exit(3)', 'the end'),
        ('import sys; sys.exit(3)', 'exit status 3'),
    ],
)
def test_a_process_that_fails_says_why(tmp_path, code, words):
    log = tmp_path / 'log.txt'
    log.write_text('error: of an earlier run\n')
    with pytest.raises(RunError, match=words):
        execute(Command((sys.executable, '-c', code), log, {}))


def test_a_process_gets_its_environment(tmp_path):
    code = 'import os, mmpointrend; print(os.environ["SHAPES_ROOT"], mmpointrend.__file__)'
    log = tmp_path / 'log.txt'
    execute(Command((sys.executable, '-c', code), log, {'SHAPES_ROOT': 'there/'}))
    package = Path(runs.__file__).parents[1] / '__init__.py'
    assert log.read_text().splitlines()[-1] == f'there/ {package}'


def test_a_real_training_and_its_test(tmp_path):
    """Two iterations of SemanticFPN from random weights, through the tools."""
    shapes = tmp_path / 'shapes'
    data = write_missing(shapes, {'train': 4, 'val': 1}, size=96, seed=0)
    model = 'fpn-p3-p5_r18-w16_1xb4-150i_shapes'
    untrained = {f'model.{part}.init_cfg': None for part in ('backbone', 'neck')}
    schedule = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 2}
    test = Evaluation(TrainingRun('fpn', f'shapes/{model}', untrained, schedule))
    work = Reproduction(tmp_path, environment={'SHAPES_ROOT': f'{shapes}/'}, data=data)
    figures = work.figures(test, 0)
    assert work.failures == {}
    assert 0 <= figures['mIoU'] <= 100 and 'narrow/mBoundaryIoU' in figures
    assert (tmp_path / 'fpn' / 'seed-0' / 'iter_2.pth').is_file()
