# Copyright (c) The mmpointrend authors.
"""The runs of the demo: each a config of ``configs/shapes``, trained and tested by a Runner.

A stage that is finished leaves ``result.json`` in its folder, with a fingerprint of all that it
depends on; it is taken from there as long as the fingerprint holds.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmpointrend.datasets.shapes import write_missing
from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.config_files import OUR_CONFIGS
from mmpointrend.engine.results import Figures, fingerprint, read_result, write_result
from mmpointrend.registry import LOOPS

CONFIGS = OUR_CONFIGS / 'shapes'


@dataclass(frozen=True)
class Stage:
    """One run.

    Attributes:
        name: Its folder in the demo's output.
        title: What the progress bar calls it.
        config: File name in ``configs/shapes``.
        on_gt_boxes: Whether its masks are also compared on the ground-truth boxes.
    """

    name: str
    title: str
    config: str
    on_gt_boxes: bool = False


TRUNK = Stage(
    'trunk', 'Shared trunk: a detector', 'faster-rcnn-semantic_r18-w16_fpn_1xb4-150i_shapes.py'
)
HEADS = (
    Stage(
        'mask_standard',
        'Mask R-CNN, 4x conv head',
        'mask-rcnn_r18-w16_fpn_1xb4-600i_shapes.py',
        on_gt_boxes=True,
    ),
    Stage(
        'mask_pointrend',
        'Mask R-CNN, PointRend',
        'pointrend_mask-rcnn_r18-w16_fpn_1xb4-600i_shapes.py',
        on_gt_boxes=True,
    ),
    Stage('semantic_standard', 'SemanticFPN', 'fpn-p3-p5_r18-w16_1xb4-150i_shapes.py'),
    Stage(
        'semantic_pointrend',
        'SemanticFPN, PointRend',
        'pointrend_fpn-p3-p5_r18-w16_1xb4-150i_shapes.py',
    ),
)


@dataclass(frozen=True)
class Options:
    """What the user of the demo can choose.

    Attributes:
        out: Folder of everything that the demo writes.
        seed: Seed of the pictures and of the runs.
        train: Number of training pictures.
        val: Number of validation pictures.
        size: Side of the pictures in pixels.
        iters: Iterations of each run; the configs' own where None.
    """

    out: Path
    seed: int = 0
    train: int = 240
    val: int = 40
    size: int = 320
    iters: int | None = None

    @property
    def data(self) -> Path:
        """Folder of the data set."""
        return self.out / 'shapes'

    @property
    def trunk(self) -> Path:
        """Checkpoint that the four heads start from."""
        return self.out / TRUNK.name / 'last.pth'


class _ProgressHook(Hook):
    """Tells the screen of every iteration, in training and in testing."""

    priority = 'LOWEST'

    def __init__(self, advance: Callable[[str], None]) -> None:
        self.advance = advance

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.advance(f'loss {float(outputs["loss"]):.2f}')

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.advance('testing')


def stage_config(stage: Stage, options: Options) -> Config:
    """The stage's config with the demo's folders, seed and length put in.

    Raises:
        FileNotFoundError: If the config is not there.
    """
    os.environ['SHAPES_ROOT'] = f'{options.data}/'
    os.environ['SHAPES_TRUNK'] = str(options.trunk)
    cfg = Config.fromfile(str(CONFIGS / stage.config))
    cfg.work_dir = str(options.out / stage.name)
    cfg.experiment_name = f'{stage.name}_{os.getpid()}'
    cfg.randomness = {'seed': options.seed}
    cfg.default_hooks.checkpoint = None  # the demo saves last.pth itself
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if options.iters is not None:
        cfg.train_cfg.max_iters = options.iters
        cfg.param_scheduler[-1].end = options.iters
    return cfg


def stage_steps(stage: Stage, options: Options) -> int:
    """Number of steps that the progress bar of a stage has: iterations and tested pictures."""
    cfg = stage_config(stage, options)
    tests = bool(cfg.get('test_cfg')) + stage.on_gt_boxes
    return cfg.train_cfg.max_iters + tests * options.val


def make_data(options: Options, advance: Callable[[str], None]) -> str:
    """Writes the data set where it is not there yet.

    Returns:
        Its fingerprint.
    """
    sizes = {'train': options.train, 'val': options.val}
    return write_missing(options.data, sizes, options.size, options.seed, advance)


def run_stage(
    stage: Stage, options: Options, after: str, advance: Callable[[str], None]
) -> tuple[str, Figures]:
    """Trains and tests one stage, or reads what an earlier call of the same has left.

    Args:
        stage: The run.
        options: The demo's options.
        after: Fingerprint of what the stage starts from.
        advance: Called after every iteration with a few words on it.

    Returns:
        Fingerprint and figures.
    """
    folder = options.out / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    cfg = stage_config(stage, options)
    recipe = {k: v for k, v in cfg.to_dict().items() if k not in ('work_dir', 'experiment_name')}
    digest = fingerprint(after, recipe)
    figures = read_result(folder, digest)
    if figures is None:
        figures = _train_and_test(stage, cfg, folder, advance)
        write_result(folder, digest, figures)
    return digest, figures


def _train_and_test(
    stage: Stage, cfg: Config, folder: Path, advance: Callable[[str], None]
) -> Figures:
    """Runs a stage; its weights are then in ``last.pth``."""
    runner = CheckedRunner.from_cfg(cfg)
    runner.register_hook(_ProgressHook(advance))
    runner.train()
    figures = dict(runner.test()) if cfg.get('test_cfg') else {}
    if stage.on_gt_boxes:
        metric = {'type': 'mmpointrend.GTBoxMaskMetric', 'dilation_ratio': 0.02}
        loop = LOOPS.build(
            {'type': 'mmpointrend.GTBoxTestLoop'},
            default_args={
                'runner': runner,
                'dataloader': runner.test_dataloader,
                'evaluator': runner.build_evaluator(metric),
            },
        )
        figures.update(loop.run())
    runner.save_checkpoint(
        str(folder), 'last.pth', save_optimizer=False, save_param_scheduler=False, by_epoch=False
    )
    _stop_workers(runner.train_dataloader)
    if cfg.get('test_cfg'):
        _stop_workers(runner.test_dataloader)
    return figures


def _stop_workers(loader: DataLoader) -> None:
    """End the workers of a loader; left to the garbage collector each of them takes 5 seconds."""
    iterator: Any = loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()
