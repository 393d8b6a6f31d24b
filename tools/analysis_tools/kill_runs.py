# Copyright (c) The mmpointrend authors.
"""Kill trainings at random moments, resume them, and compare with one that went through, bit for bit.

The config should describe a run of seconds that saves several checkpoints. It is trained once without a break; then,
for each kill, in a folder of its own: trained, killed (SIGKILL) after a random part of that time, and resumed to the
end with ``--resume``. Weights, buffers and the state of the optimizer of the last checkpoints are compared. Exits with
0 where all are equal, with 3 where some differ; what differs is kept. All runs are forked off one process, so that none
waits for imports. Other options are those of ``tools/train.py``.

Usage: python tools/analysis_tools/kill_runs.py CONFIG [--kills N] [--seed N] [--work-dir DIR] [--cfg-options ...]
"""

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from mmpointrend.engine.checkpoint import load_from_local
from mmpointrend.engine.launch import read_config, run_cli, train
from mmpointrend.errors import ConfigError

DIFFERENT = 3
# A forked copy of a process whose threads hold locks would wait for ever.
_FORK = multiprocessing.get_context('fork')


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """Read the command line: our options, and those for ``tools/train.py``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', type=Path)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0, help='of the moments of the kills')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/kill_runs'))
    return parser.parse_known_args()


def _train_quietly(arguments: list[str], log: Path) -> None:
    """A forked run: what it prints goes to a file."""
    status = 1
    with log.open('a', buffering=1) as file:
        sys.stdout = sys.stderr = file
        # What C++ prints goes there too.
        os.dup2(file.fileno(), 2)
        try:
            torch.set_num_threads(1)
            run_cli(lambda: train(arguments))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            file.flush()
            # At once: the usual end waits seconds for the workers of the data loader.
            os._exit(status)


def run(arguments: list[str], log: Path, killed_after: float | None = None) -> bool:
    """Train in a process of its own.

    Args:
        arguments: Those of ``tools/train.py``.
        log: File for what it prints.
        killed_after: Seconds after which it is killed; None lets it end.

    Returns:
        Whether the process was killed before it ended by itself.

    Raises:
        ConfigError: It ended by an error.
    """
    process = _FORK.Process(target=_train_quietly, args=(arguments, log))
    process.start()
    process.join(killed_after)
    killed = process.is_alive()
    if killed and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    elif process.exitcode:
        raise ConfigError(f'a training failed, see {log}: give a config that trains and resumes.')
    return killed


def final_state(work_dir: Path) -> dict[str, Any]:
    """Tensors of a run's last checkpoint by name: weights, buffers, state of the optimizer.

    Args:
        work_dir: Folder of the run.

    Returns:
        Tensors and numbers by name.

    Raises:
        ConfigError: The checkpoint holds no optimizer.
    """
    last = Path((work_dir / 'last_checkpoint').read_text())
    checkpoint = load_from_local(str(work_dir / last.name), map_location='cpu')
    found = dict(checkpoint['state_dict'])
    if 'optimizer' not in checkpoint:
        raise ConfigError(
            'a run is not resumed to the same weights without its optimizer: set '
            'default_hooks.checkpoint.save_optimizer=True.'
        )
    for index, state in checkpoint['optimizer']['state'].items():
        found.update({f'optimizer.{index}.{name}': value for name, value in state.items()})
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of the tensors that are not the same in every bit."""
    return sorted(
        name
        for name in {*one, *other}
        if name not in one
        or name not in other
        or not torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name]))
    )


def main() -> None:
    """Train, kill, resume, compare.

    Raises:
        ConfigError: The config cannot be trained, or a training fails.
    """
    args, options = parse_args()
    scope = read_config(str(args.config)).default_scope
    if args.work_dir.exists():
        raise ConfigError(f'{args.work_dir} exists: delete it, or name another --work-dir.')
    args.work_dir.mkdir(parents=True)
    # What every run would import anew; the first is what optimizers ask for.
    importlib.import_module('torch._dynamo')
    for package in (scope, 'mmpointrend'):
        for part in ('datasets', 'engine', 'evaluation', 'models', 'visualization'):
            importlib.import_module(f'{package}.{part}')
    moments = random.Random(args.seed)

    def arguments(name: str, *more: str) -> list[str]:
        return [str(args.config), '--work-dir', str(args.work_dir / name), *more, *options]

    begin = time.monotonic()
    run(arguments('straight'), args.work_dir / 'straight.txt')
    duration = time.monotonic() - begin
    expected = final_state(args.work_dir / 'straight')
    equal = killed = 0
    for index in range(args.kills):
        name, moment = f'kill-{index:03d}', moments.uniform(0, duration)
        log = args.work_dir / f'{name}.txt'
        killed += run(arguments(name), log, moment)
        run(arguments(name, '--resume'), log)
        wrong = differing(expected, final_state(args.work_dir / name))
        equal += not wrong
        verdict = f'{len(wrong)} tensors differ, first {wrong[0]}' if wrong else 'equal'
        print(f'{name}: after {moment:.2f} of {duration:.2f} s, {verdict}', flush=True)
        if not wrong:
            shutil.rmtree(args.work_dir / name)
    print(f'{equal} of {args.kills} resumed bit for bit ({killed} were killed before their end)')
    if equal < args.kills:
        sys.exit(DIFFERENT)


if __name__ == '__main__':
    run_cli(main)
