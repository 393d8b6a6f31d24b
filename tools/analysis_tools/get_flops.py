# Copyright (c) The mmpointrend authors.
"""Count multiply-adds and activations of a config's mask branch by layer, or print the paper's Table 2.

Counted are the layers of the mask head, or the decode head, and of the point head for as many points as the renderer
predicts: see :mod:`mmpointrend.analysis.complexity` for the conventions. No data and no weights are needed.

Usage: python tools/analysis_tools/get_flops.py CONFIG [--shape HEIGHT WIDTH] [--box HEIGHT WIDTH] [--json]
       [--cfg-options KEY=VALUE ...]
       python tools/analysis_tools/get_flops.py --table2 [--json]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from rich.table import Table

import mmpointrend  # noqa: F401  (makes `mmpointrend::` known in configs)
from mmpointrend.analysis import MaskBranch, count_mask_branch
from mmpointrend.engine.launch import read_config, run_cli, task_of
from mmpointrend.errors import ConfigError

# The paper's models: the 4x conv head is that of every Mask R-CNN of mmdet and of ours.
_POINTREND = 'mmpointrend::instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py'
_CONV = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
_NOT_CHECKED = "† Rounded; not stated in the paper's text, and not checked against its table."
_ROI_SIZE = 'model.roi_head.mask_roi_extractor.roi_layer.output_size'


def count(
    cfg: Config, shape: tuple[int, int] | None = None, box: tuple[int, int] | None = None
) -> MaskBranch:
    """Count the mask branch of a config.

    Args:
        cfg: The config.
        shape: Height and width of the network's input, for label maps.
        box: Height and width of a box, where the config renders masks at the resolution of the output.

    Returns:
        The cost of an RoI, or of an image.
    """
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    return count_mask_branch(model, shape, box)


def table2() -> list[dict[str, Any]]:
    """The rows of the paper's Table 2, with the parts of PointRend between them.

    Returns:
        Rows with 'multiply_adds' and 'activations' (at the peak of one step), both with their ratio to the 4x conv head
        of the same resolution where the paper compares them, and the paper's own figures, which it rounds.
    """

    def of(base: str, **options: Any) -> MaskBranch:
        cfg = Config.fromstring(f'_base_ = {base!r}\ndefault_scope = "mmdet"', '.py')
        cfg.merge_from_dict(options)
        return count(cfg)

    small, large, ours = of(_CONV), of(_CONV, **{_ROI_SIZE: 112}), of(_POINTREND)
    coarse = MaskBranch(ours.input_activations, ours.layers)
    point = ours.point_layers
    rows: list[dict[str, Any]] = [
        _row('4x conv, 28x28', small.multiply_adds(), small.peak_activations, '0.5B / 0.5M†'),
        _row(
            '4x conv, 224x224 (RoI of 112x112)',
            large.multiply_adds(),
            large.peak_activations,
            '34B / 33M†',
        ),
        _row('coarse head, 7x7', coarse.multiply_adds(), coarse.peak_activations),
        _row(
            'point head, a point',
            sum(layer.multiply_adds for layer in point),
            sum(layer.activations for layer in point),
        ),
        _row('the same, predicted class only', ours.own_class),
        _row(
            f'PointRend, 224x224, {ours.points():,} points',
            ours.multiply_adds(),
            ours.peak_activations,
            '0.9B / 0.7M†',
        ),
        _row(
            f'the same without skipping, {ours.points(True):,} points',
            ours.multiply_adds(with_skipped=True),
            ours.peak_activations,
        ),
    ]
    for row in rows[-2:]:
        for key in ('multiply_adds', 'activations'):
            row[f'{key}_fewer'] = rows[1][key] / row[key]
    return rows


def _row(
    branch: str, multiply_adds: int | None, activations: int | None = None, paper: str = ''
) -> dict[str, Any]:
    return {
        'branch': branch,
        'multiply_adds': multiply_adds,
        'activations': activations,
        'paper': paper,
    }


def print_table2(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print :func:`table2`."""
    table = Table(title='Table 2: mask branches of an RoI, 80 classes')
    table.add_column('mask branch')
    for heading in ('multiply-adds', 'fewer', 'activations, peak', 'fewer', 'paper'):
        table.add_column(heading, justify='right')
    for row in rows:
        cells = []
        for key in ('multiply_adds', 'activations'):
            fewer = row.get(f'{key}_fewer')
            cells += [
                '' if row[key] is None else f'{row[key]:,}',
                '' if fewer is None else f'{fewer:.1f}x',
            ]
        table.add_row(row['branch'], *cells, row['paper'])
    console.print(table)
    console.print(_NOT_CHECKED)


def print_branch(title: str, branch: MaskBranch, console: Console) -> None:
    """Print a mask branch layer by layer, and its steps."""
    table = Table(title=title)
    table.add_column('layer')
    for heading in ('multiply-adds', 'activations', 'times', 'multiply-adds together'):
        table.add_column(heading, justify='right')
    table.add_row('input', '', f'{branch.input_activations:,}', '', '')
    points = branch.points()
    for layers, times in ((branch.layers, 1), (branch.point_layers, points)):
        for layer in layers:
            products = layer.multiply_adds
            cells = (products, layer.activations, times, products * times)
            table.add_row(layer.name, *(f'{cell:,}' for cell in cells))
        table.add_section()
    table.add_row(
        'together, activations at the peak of one step',
        '',
        f'{branch.peak_activations:,}',
        '',
        f'{branch.multiply_adds():,}',
    )
    table.add_row('activations of all steps', '', f'{branch.activations:,}', '', '')
    console.print(table)
    for number, step in enumerate(branch.steps, start=1):
        skipped = ', skipped: the next step predicts all of it anew' if step.skipped else ''
        console.print(f'step {number}: {step.height}x{step.width}, {step.points:,} points{skipped}')
    if branch.own_class is not None:
        console.print(f'a point, predicted class only: {branch.own_class:,} multiply-adds')


def as_dict(branch: MaskBranch) -> dict[str, Any]:
    """What ``--json`` prints of a mask branch."""
    return {
        'multiply_adds': branch.multiply_adds(),
        'multiply_adds_without_skipping': branch.multiply_adds(with_skipped=True),
        'peak_activations': branch.peak_activations,
        'activations': branch.activations,
        'points': branch.points(),
        'multiply_adds_of_a_point_of_one_class': branch.own_class,
        'input_activations': branch.input_activations,
        'layers': [vars(layer) for layer in branch.layers],
        'point_layers': [vars(layer) for layer in branch.point_layers],
        'steps': [vars(step) for step in branch.steps],
    }


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Multiply-adds and activations of mask branches.')
    parser.add_argument('config', nargs='?', help='config of either task')
    parser.add_argument('--table2', action='store_true', help="the paper's Table 2")
    for option, what in (
        ('--shape', "the network's input, for label maps; default the training crop"),
        ('--box', 'a box in the output, for configs with adaptive_resolution'),
    ):
        parser.add_argument(
            option, nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'), help=f'pixels of {what}'
        )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that override the config',
    )
    return parser.parse_args()


def main() -> None:
    """Count what the command line asks for.

    Raises:
        ConfigError: It asks for nothing, or the config cannot be counted.
    """
    args = parse_args()
    if (args.config is None) != args.table2:
        raise ConfigError('give either a config or --table2')
    # Tables in a file are not folded to a terminal's width.
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    if args.table2:
        rows = table2()
        if args.json:
            print(json.dumps(rows, indent=1))
        else:
            print_table2(rows, console)
        return
    cfg = read_config(args.config, args.cfg_options)
    shape = args.shape or (cfg.model.get('data_preprocessor') or {}).get('size')
    branch = count(cfg, shape, args.box)
    if args.json:
        print(json.dumps(as_dict(branch), indent=1))
        return
    size = 'x'.join(map(str, shape or ()))
    of = 'an RoI' if task_of(cfg) == 'instance' else f'an image of {size}'
    print_branch(f'{Path(args.config).stem}: {of}', branch, console)


if __name__ == '__main__':
    run_cli(main)
