# Copyright (c) The mmpointrend authors.
"""Runs what a table needs: ``tools/train.py`` and ``tools/test.py``, each run in a process of its own.

WORK/<training>/seed-<n>/                  a training: checkpoints, log.txt, result.json when it is finished
WORK/<training>/seed-<n>/<test>/           a test of its last checkpoint, likewise

What is finished is not done again, a training that was stopped goes on, and a run that fails is
named while the rest goes on.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load

import mmpointrend
from mmpointrend.engine.results import (
    Figures,
    fingerprint,
    read_fingerprint,
    read_result,
    write_result,
)
from mmpointrend.engine.resuming import find_resumable
from mmpointrend.errors import PointRendError
from mmpointrend.reproduction.definitions import Evaluation, Options, Table, Training

__all__ = ['HOME', 'Command', 'Launch', 'Reproduction', 'RunError', 'execute']

HOME = Path(mmpointrend.__file__).resolve().parent / '.mim'
"""Folder with ``configs`` and ``tools``, in the repository and installed."""


class RunError(PointRendError):
    """A run has failed, or cannot be run: the message names it."""


@dataclass(frozen=True)
class Command:
    """A process.

    Attributes:
        arguments: Program and arguments.
        log: File that its output is appended to.
        environment: Variables that it gets beside ours.
    """

    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]


def execute(command: Command) -> None:
    """Run a process to its end.

    Args:
        command: The process.

    Raises:
        RunError: It has failed; the message is what it said last.
    """
    # The tools import the package from where this process has it, by the same interpreter.
    search = [str(HOME.parents[1]), os.environ.get('PYTHONPATH', '')]
    path = [str(Path(sys.executable).parent), os.environ.get('PATH', '')]
    environment = {
        **os.environ,
        **command.environment,
        'PYTHONPATH': os.pathsep.join(filter(None, search)),
        'PATH': os.pathsep.join(path),
    }
    with command.log.open('a', encoding='utf-8') as log:
        log.write(f'$ {" ".join(command.arguments)}\n')
        log.flush()
        done = subprocess.run(
            command.arguments, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode != 0:
        raise RunError(_last_words(command.log) or f'exit status {done.returncode}')


def _last_words(log: Path) -> str:
    """The last error that the last process of a log states, else its last line."""
    text = log.read_text(encoding='utf-8', errors='replace').split('\n$ ')[-1]
    lines = [re.sub(r'^\[rank\d+\]: ', '', line) for line in text.splitlines()[1:]]
    # torch's launcher reports only that one of its processes has failed.
    errors = [
        line
        for line in lines
        if re.match(r'error: |(?!torch\.distributed)[\w.]*(Error|Exception)\b', line)
    ]
    return (errors or [line for line in lines if line.strip()] or [''])[-1].removeprefix('error: ')


@dataclass(frozen=True)
class Launch:
    """How processes are started.

    Attributes:
        gpus: Processes a run, one a GPU, by torch's launcher; None runs one without a launcher.
    """

    gpus: int | None = None

    def command(self, tool: str, *positional: object) -> tuple[str, ...]:
        """Program and first arguments of a tool.

        Args:
            tool: ``train`` or ``test``.
            *positional: The tool's positional arguments.

        Returns:
            The command, to which the tool's options can be appended.
        """
        arguments = map(str, positional)
        if self.gpus is None:
            return (sys.executable, str(HOME / 'tools' / f'{tool}.py'), *arguments)
        script = str(HOME / 'tools' / f'dist_{tool}.sh')
        return ('bash', script, *arguments, str(self.gpus))


@dataclass
class Reproduction:
    """Trains and tests on demand, and remembers what it has tried.

    Attributes:
        work: Folder of all runs.
        launch: How processes are started.
        options: Settings of every run.
        environment: Environment variables of every run.
        data: Fingerprint of the data where it is generated.
        checkpoints: Weights to test by name of the training, instead of training.
        test_only: Whether trainings that are not finished are left out.
        redo: Whether runs of a config that has changed since are done anew; otherwise they fail.
        tell: Called with a line for every run that starts or ends.
        run: Runs a command, as :func:`execute` does.
        failures: What has failed so far: name of the run -> why.
    """

    work: Path
    launch: Launch = field(default_factory=Launch)
    options: Options = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    data: str = ''
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    test_only: bool = False
    redo: bool = False
    tell: Callable[[str], None] = lambda line: None
    run: Callable[[Command], None] = execute
    failures: dict[str, str] = field(default_factory=dict, init=False)
    _recipes: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)

    def figures(self, test: Evaluation, seed: int) -> Figures | None:
        """Figures of a test, for which whatever is missing is run.

        Args:
            test: The test.
            seed: Seed of its training.

        Returns:
            The figures; None where a run has failed, which ``failures`` then names.
        """
        name = f'{test.training.name}/seed-{seed}'
        try:
            checkpoint = self._checkpoint(test.training, seed)
            name = f'{name}/{test.name}'
            return self._once(name, lambda: self._test(test, seed, checkpoint))
        except RunError:
            return None

    def states(self, table: Table, seeds: Sequence[int] | None = None) -> list[tuple[str, str]]:
        """What a call would find.

        Args:
            table: The table.
            seeds: Seeds of its runs; None takes as many as the columns say.

        Returns:
            Name of each test and its state: ``done``, ``to test``, ``to train``, ``to go on with``,
            ``changed since`` or ``no config``.
        """
        return [
            (f'{test.training.name}/seed-{seed}/{test.name}', self._state(test, seed))
            for row in table.rows
            for kind, test in row.tests.items()
            for seed in table.seeds_of(kind, seeds)
        ]

    def _state(self, test: Evaluation, seed: int) -> str:
        folder = self._folder(test.training, seed)
        try:
            digest = self._digest(test.training, seed)
            tested = self._test_digest(test, seed)
        except RunError:
            return 'no config'
        if read_result(folder / test.name, tested) is not None:
            return 'done'
        if test.training.name in self.checkpoints or read_result(folder, digest) is not None:
            return 'to test'
        begun = read_fingerprint(folder)
        return {None: 'to train', digest: 'to go on with'}.get(begun, 'changed since')

    def _once(self, name: str, action: Callable[[], Any]) -> Any:
        """Do something unless it has failed before; a failure is kept by its name."""
        if name in self.failures:
            raise RunError(self.failures[name])
        try:
            return action()
        except PointRendError as error:
            self.failures[name] = str(error)
            self.tell(f'{name}: FAILED: {error}')
            raise RunError(str(error)) from error

    def _folder(self, training: Training, seed: int) -> Path:
        return self.work / training.name / f'seed-{seed}'

    def _checkpoint(self, training: Training, seed: int) -> Path:
        """Weights of a training, which is run where it is not finished."""
        if training.name in self.checkpoints:
            return self.checkpoints[training.name]
        name = f'{training.name}/seed-{seed}'
        return self._once(name, lambda: self._train(name, training, seed))

    def _train(self, name: str, training: Training, seed: int) -> Path:
        starts = dict(self.environment)
        for variable, start in training.starts.items():
            try:
                starts[variable] = str(self._checkpoint(start, seed))
            except RunError as error:
                raise RunError(f'it starts from {start.name}, which there is not') from error
        folder, digest = self._folder(training, seed), self._digest(training, seed)
        if read_result(folder, digest) is None:
            if self.test_only:
                raise RunError('it is not trained, and nothing is to be trained now')
            self._make_way(folder, digest)
            write_result(folder, digest, None)
            command = self.launch.command('train', _config(training.config))
            options = self._training_options(training, seed)
            arguments = (*command, '--work-dir', str(folder), '--resume', *_flags(options))
            seconds = self._timed(name, Command(arguments, folder / 'log.txt', starts))
            write_result(folder, digest, {'seconds': seconds})
        checkpoint = find_resumable(str(folder), self.tell)
        if checkpoint is None:
            raise RunError(f'its checkpoint is not in {folder}: delete the folder to train anew')
        return Path(checkpoint)

    def _make_way(self, folder: Path, digest: str) -> None:
        """Let a new training have its folder; one that was stopped goes on in it."""
        if read_fingerprint(folder) not in (None, digest):
            if not self.redo:
                raise RunError(
                    f'{folder} holds a run of another config: call with --redo to run it anew, or '
                    'move the folder away'
                )
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)

    def _test(self, test: Evaluation, seed: int, checkpoint: Path) -> Figures:
        folder = self._folder(test.training, seed) / test.name
        digest = self._test_digest(test, seed)
        figures = read_result(folder, digest)
        if figures is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            config = _config(test.config or test.training.config)
            command = self.launch.command('test', config, checkpoint)
            arguments = (*command, '--work-dir', str(folder), *_flags(self._test_options(test)))
            name = f'{test.training.name}/seed-{seed}/{test.name}'
            self._timed(name, Command(arguments, folder / 'log.txt', self.environment))
            figures = _read_figures(folder)
            write_result(folder, digest, figures)
        return figures

    def _timed(self, name: str, command: Command) -> float:
        """Seconds that a process takes."""
        self.tell(f'{name} ...')
        self._recipes.clear()  # configs may be edited during a run of hours
        start = time.monotonic()
        try:
            self.run(command)
        except RunError as error:
            raise RunError(f'{error} (see {command.log})') from error
        seconds = time.monotonic() - start
        self.tell(f'{name}: {seconds:.0f} s')
        return seconds

    def _training_options(self, training: Training, seed: int) -> Options:
        seeded = {'randomness.seed': seed}
        return {**training.options, **training.schedule, **self.options, **seeded}

    def _test_options(self, test: Evaluation) -> Options:
        return {**test.training.options, **test.options, **self.options}

    def _digest(self, training: Training, seed: int) -> str:
        """Fingerprint of a training and of all that it starts from."""
        starts = [self._digest(start, seed) for start in training.starts.values()]
        recipe = self._recipe(training.config, self._training_options(training, seed))
        return fingerprint(self.data, starts, recipe)

    def _test_digest(self, test: Evaluation, seed: int) -> str:
        """Fingerprint of a test and of what it tests."""
        given = self.checkpoints.get(test.training.name)
        if given is None:
            weights: object = self._digest(test.training, seed)
        else:
            weights = str(given.resolve()), given.stat().st_size, given.stat().st_mtime_ns
        recipe = self._recipe(test.config or test.training.config, self._test_options(test))
        return fingerprint(self.data, weights, recipe)

    def _recipe(self, config: str, options: Options) -> dict[str, Any]:
        """A config as it would be run, read once between two runs."""
        key = fingerprint(config, options)
        if key not in self._recipes:
            self._recipes[key] = _resolved(config, options)
        return self._recipes[key]


def _config(name: str) -> Path:
    return HOME / 'configs' / f'{name}.py'


def _resolved(name: str, options: Options) -> dict[str, Any]:
    """A config with the options put in, as it would be run."""
    path = _config(name)
    if not path.is_file():
        raise RunError(f'the config {name} does not exist')
    cfg = Config.fromfile(str(path))
    cfg.merge_from_dict(dict(options))
    return cfg.to_dict()


def _flags(options: Options) -> list[str]:
    """Options as arguments of a tool."""
    pairs = [f'{key}={value}' for key, value in options.items()]
    return ['--cfg-options', *pairs] if pairs else []


def _read_figures(folder: Path) -> Figures:
    """What mmengine's logger has written of a test: FOLDER/<time>/<time>.json."""
    files = [path for path in folder.glob('*/*.json') if path.stem == path.parent.name]
    if not files:
        raise RunError(f'it has left no figures in {folder}: default_hooks.logger has to be there')
    content = load(str(max(files)))
    return {name: value for name, value in content.items() if isinstance(value, int | float)}
