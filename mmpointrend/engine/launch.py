# Copyright (c) The mmpointrend authors.
"""What ``tools/train.py`` and ``tools/test.py`` do, for both tasks: from the command line to a
runner.

The config's ``default_scope`` tells the task: ``mmdet`` is instance segmentation, ``mmseg``
semantic segmentation.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmpointrend.engine.checkpoint import load_from_local
from mmpointrend.engine.checks import leaves
from mmpointrend.engine.config_files import find_config_file, read_config, task_of
from mmpointrend.engine.resuming import find_resumable
from mmpointrend.engine.runner import CheckedRunner
from mmpointrend.engine.saving import naming_the_disk
from mmpointrend.errors import ConfigError, InputError, PointRendError, sentence_of

__all__ = ['output_file', 'read_config', 'run_cli', 'task_of', 'test', 'train', 'tta_of']


def run_cli(main: Callable[[], Any]) -> None:
    """Run a tool; an error that the user can mend ends it with one sentence on stderr and status 1.

    Args:
        main: The tool; other errors that it raises keep their traceback.
    """
    try:
        with naming_the_disk():
            main()
    except PointRendError as error:
        sys.exit(f'error: {sentence_of(error)}')


def train(argv: list[str] | None = None, prog: str | None = None) -> None:
    """Train as the command line says.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        prog: Program's name, for help and errors; None takes that of the process.

    Raises:
        PointRendError: Something that the user can mend.
    """
    parser = _parser('Train a model of either task.', prog)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a path, from the newest whole one in --work-dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (needs a GPU)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size over auto_scale_lr.base_batch_size',
    )
    args = _parse(parser, argv)
    cfg = _load_config(args)
    if cfg.get('train_cfg') is None:
        raise ConfigError(f'{args.config} has no train_cfg: it cannot be trained, only tested.')
    if args.amp:
        _use_amp(cfg)
    if args.auto_scale_lr:
        _scale_lr(cfg)
    _make_stoppable(cfg)
    if args.resume is not None:
        _resume(cfg, args.resume)
    _build_runner(cfg).train()


def test(argv: list[str] | None = None, prog: str | None = None) -> dict[str, float]:
    """Test as the command line says.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        prog: Program's name, for help and errors; None takes that of the process.

    Returns:
        The evaluator's figures by name, on every rank.

    Raises:
        PointRendError: Something that the user can mend.
    """
    parser = _parser('Test a model of either task.', prog)
    parser.add_argument('checkpoint', help='weights to test')
    parser.add_argument(
        '--out',
        help='write the predictions: for instances a .pkl with one dict an image and masks as RLE, '
        'as mmdet does; for semantic segmentation a folder of label PNGs, as mmseg does',
    )
    parser.add_argument('--show-dir', help='draw every prediction into this folder')
    parser.add_argument(
        '--tta', action='store_true', help='average over flips and scales (semantic only)'
    )
    args = _parse(parser, argv)
    cfg = _load_config(args)
    if cfg.get('test_cfg') is None:
        raise ConfigError(f'{args.config} has no test_cfg: it cannot be tested.')
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show_dir:
        _draw_into(cfg, args.show_dir)
    if args.tta:
        _use_tta(cfg)
    if args.out:
        _write_to(cfg, args.out)
    return _build_runner(cfg).test()


def _parser(description: str, prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument('config', help='name or path of a config')
    parser.add_argument(
        '--work-dir', help='folder of logs and checkpoints; default work_dirs/<name of the config>'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that override the config; lists as key="[a,b]", without blanks',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # Set by launchers before torchrun.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    try:
        # The checkpoint of a test may stand behind the options.
        args = parser.parse_intermixed_args(argv)
    except (ValueError, AssertionError, RecursionError):
        # What mmengine's DictAction raises on other than pairs, numbers, words and lists of them.
        parser.error('--cfg-options takes pairs KEY=VALUE without blanks; VALUE is no dict(...)')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def output_file(path: Path) -> Path:
    """Make the folder of a file that a tool is to write.

    Args:
        path: The file.

    Returns:
        The same.

    Raises:
        InputError: It is a folder, or its folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{path} cannot be written ({error}); give another one.') from error
    if path.is_dir():
        raise InputError(f'{path} is a folder: name a file to write.')
    return path


def _load_config(args: argparse.Namespace) -> Config:
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / find_config_file(args.config).stem)
    return cfg


def _build_runner(cfg: Config) -> Runner:
    return RUNNERS.build(cfg) if 'runner_type' in cfg else CheckedRunner.from_cfg(cfg)


def _use_amp(cfg: Config) -> None:
    if get_device() == 'cpu':
        raise ConfigError('--amp needs a GPU, and none is visible; leave it out.')
    wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(
            f'--amp needs optim_wrapper.type=OptimWrapper, and the config has {wrapper}.'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def _scale_lr(cfg: Config) -> None:
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError(
            '--auto-scale-lr needs the batch size that the learning rate is meant for: set '
            'auto_scale_lr=dict(base_batch_size=...).'
        )
    cfg.auto_scale_lr.enable = True


def _make_stoppable(cfg: Config) -> None:
    """Let a stopped run resume to the same weights: safe checkpoints, and random numbers by
    iteration."""
    hooks = cfg.setdefault('default_hooks', {})
    checkpoint = hooks.get('checkpoint', dict(type='CheckpointHook', interval=1))
    if checkpoint is not None and checkpoint['type'] in (
        'CheckpointHook',
        'mmengine.CheckpointHook',
    ):
        hooks['checkpoint'] = {**checkpoint, 'type': 'mmpointrend.SafeCheckpointHook'}
    everywhere = [*hooks.values(), *(cfg.get('custom_hooks') or [])]
    # Left out on purpose; mmengine knows None for its own hooks alone.
    if hooks.get('iteration_seed', ...) is None:
        del hooks['iteration_seed']
        return
    if any('IterationSeedHook' in str((hook or {}).get('type')) for hook in everywhere):
        return
    loop, loader = cfg.train_cfg, cfg.train_dataloader
    by_epoch = loop.get('by_epoch', 'EpochBasedTrainLoop' in str(loop.get('type')))
    if not by_epoch and 'IterBasedTrainLoop' not in str(loop.get('type', 'IterBasedTrainLoop')):
        return
    if by_epoch and loader.get('persistent_workers'):
        loader.persistent_workers = False
        print_log('train_dataloader.persistent_workers is set to False, for exact resuming.')
    if not by_epoch and not loader.get('num_workers'):
        print_log(
            'A resumed run will draw other augmentations: with train_dataloader.num_workers=1 or '
            'more it would be the same run.'
        )
        return
    if by_epoch and checkpoint is not None and not checkpoint.get('by_epoch', True):
        print_log(
            'A resumed run repeats the epoch that it was stopped in: checkpoints are saved by '
            'iteration.'
        )
        return
    hooks['iteration_seed'] = dict(type='mmpointrend.IterationSeedHook')


def _resume(cfg: Config, where: str) -> None:
    """Set the checkpoint to resume from, and its seed where the config has none."""
    if where == 'auto':
        out_dir = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('out_dir')
        found = find_resumable(cfg.work_dir, print_log, None if out_dir is None else str(out_dir))
        if found is None:
            print_log(f'No checkpoint in {cfg.work_dir}: training starts anew.')
            return
        where = found
    cfg.resume, cfg.load_from = True, where
    if cfg.get('randomness', {}).get('seed') is None and '://' not in where:
        meta = load_from_local(where, map_location='cpu').get('meta')
        seed = meta.get('seed') if isinstance(meta, dict) else None
        # What is no seed is refused with the rest of the checkpoint.
        if isinstance(seed, int) and 0 <= seed < 2**32:
            cfg.randomness = {**cfg.get('randomness', {}), 'seed': seed}


def _draw_into(cfg: Config, folder: str) -> None:
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError(
            "--show-dir needs a hook that draws: set default_hooks.visualization=dict(type='"
            "DetVisualizationHook') for instances, 'SegVisualizationHook' for label maps."
        )
    hook.draw, hook.interval = True, 1
    folder = str(Path(folder).absolute())
    if task_of(cfg) == 'instance':
        hook.test_out_dir = folder
    else:
        visualizer = cfg.get('visualizer') or dict(type='SegLocalVisualizer')
        backends = visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
        cfg.visualizer = dict(visualizer, vis_backends=backends, save_dir=folder)


def tta_of(cfg: Config, option: str) -> tuple[dict[str, Any], Any]:
    """What a config says of test-time augmentation.

    Args:
        cfg: The config.
        option: What asks for it, for the message.

    Returns:
        Config of the model round the model, without ``module``, and the pipeline.

    Raises:
        ConfigError: It is one of instances, or has no ``tta_pipeline``.
    """
    if task_of(cfg) == 'instance':
        raise ConfigError(
            f'{option} works for semantic segmentation; averaging instance masks comes with a later '
            'version.'
        )
    if 'tta_pipeline' not in cfg:
        raise ConfigError(
            f'{option} needs tta_pipeline in the config; every dataset config of mmseg shows one.'
        )
    tta_model = cfg.get('tta_model') or dict(type='SegTTAModel')
    # mmseg's own takes the sigmoid twice where there is one class.
    if tta_model['type'] in ('SegTTAModel', 'mmseg.SegTTAModel'):
        tta_model = {**tta_model, 'type': 'mmpointrend.SegTTAModel'}
    return dict(tta_model), cfg.tta_pipeline


def _use_tta(cfg: Config) -> None:
    tta_model, pipeline = tta_of(cfg, '--tta')
    cfg.model = dict(tta_model, module=cfg.model)
    for dataset in leaves(cfg.test_dataloader.dataset):
        dataset.pipeline = pipeline


def _write_to(cfg: Config, out: str) -> None:
    if task_of(cfg) == 'instance':
        if Path(out).suffix not in ('.pkl', '.pickle'):
            raise ConfigError(
                f'--out {out}: the predictions of instances go to a file, name it *.pkl.'
            )
        writer: dict[str, Any] = dict(type='mmdet.DumpDetResults', out_file_path=out)
    else:
        if Path(out).suffix:
            raise ConfigError(f'--out {out}: label maps go to a folder, name one without a suffix.')
        writer = dict(type='mmseg.IoUMetric', format_only=True, output_dir=out)
    present = cfg.get('test_evaluator') or []
    cfg.test_evaluator = [*(present if isinstance(present, list) else [present]), writer]
