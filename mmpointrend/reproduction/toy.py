# Copyright (c) The mmpointrend authors.
"""The tables at toy scale: the configs of ``configs/shapes`` on generated pictures.

Every model starts from the trunk of its seed, a detector with a semantic head. The seeds vary the
initialisation and the order of the data; the pictures are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mmpointrend.reproduction.definitions import (
    Column,
    Evaluation,
    Options,
    Published,
    Row,
    Table,
    Training,
)
from mmpointrend.reproduction.paper import paper_tables

__all__ = ['Toy', 'toy_tables']

_TRUNK = 'faster-rcnn-semantic_r18-w16_fpn'
_MASK_RCNN = 'mask-rcnn_r18-w16_fpn'
_DETECTIONS, _GT_BOXES, _LABEL_MAPS = 'test', 'gt-boxes', 'test'

_ON_GT_BOXES: Options = {
    'test_cfg.type': 'mmpointrend.GTBoxTestLoop',
    'test_evaluator._delete_': True,
    'test_evaluator.type': 'mmpointrend.GTBoxMaskMetric',
}
_RUNS = 3
_INSTANCE = (
    Column('mask AP', _DETECTIONS, 'coco/segm_mAP', 100, runs=_RUNS),
    Column('Boundary AP', _DETECTIONS, 'coco/boundary_mAP', 100, runs=_RUNS),
    Column('boundary IoU, gt boxes', _GT_BOXES, 'gt_box/boundary_IoU', 100, runs=_RUNS),
    Column('the same, small', _GT_BOXES, 'gt_box/boundary_IoU_s', 100, runs=_RUNS),
    Column('the same, large', _GT_BOXES, 'gt_box/boundary_IoU_l', 100, runs=_RUNS),
)
_SEMANTIC = (
    Column('mIoU', _LABEL_MAPS, 'mIoU', runs=_RUNS),
    Column('boundary IoU, 9 px', _LABEL_MAPS, 'wide/mBoundaryIoU', runs=_RUNS),
    Column('boundary IoU, 2 px', _LABEL_MAPS, 'narrow/mBoundaryIoU', runs=_RUNS),
)


@dataclass(frozen=True)
class Toy:
    """Size of the toy.

    Attributes:
        train: Number of training pictures.
        val: Number of validation pictures.
        size: Side of the pictures in pixels.
        iterations: Iterations of every training; the configs' own where None.
    """

    train: int = 240
    val: int = 40
    size: int = 320
    iterations: int | None = None

    @property
    def schedule(self) -> Options:
        """What shortens a config's training."""
        if self.iterations is None:
            return {}
        return {
            'train_cfg.max_iters': self.iterations,
            'train_cfg.val_interval': self.iterations + 1,
            'param_scheduler.1.end': self.iterations,
            'default_hooks.checkpoint.interval': self.iterations,
        }

    def training(
        self, model: str, name: str | None = None, options: Options | None = None
    ) -> Training:
        """Training of a config of ``configs/shapes``.

        Args:
            model: Beginning of the config's name.
            name: Name of the training where it differs from that.
            options: What differs from the config.

        Returns:
            The training.
        """
        starts = {} if model == _TRUNK else {'SHAPES_TRUNK': self.training(_TRUNK)}
        # Mask heads learn for longer, see docs/results.md.
        length = 600 if model.endswith(_MASK_RCNN) else 150
        config = f'shapes/{model}_1xb4-{length}i_shapes'
        return Training(name or model, config, options or {}, self.schedule, starts)


def toy_tables(toy: Toy) -> dict[int, Table]:
    """The tables by their number in the paper.

    Args:
        toy: Size of the toy.

    Returns:
        Tables 1, 3, 4, 6 and 7.
    """
    tables = (_main(toy), _inference(toy), _selection(toy), _deeplab(toy), _semantic_fpn(toy))
    return {table.number: table for table in tables}


def _instance_row(
    title: str,
    training: Training,
    published: Mapping[str, Published],
    gain_over: str | None,
    name: str = '',
    **rcnn: int,
) -> Row:
    """A row of instance segmentation; ``rcnn`` are settings of model.test_cfg.rcnn."""
    settings = {f'model.test_cfg.rcnn.{key}': value for key, value in rcnn.items()}
    suffix = f'_{name}' if name else ''
    tests = {
        _DETECTIONS: Evaluation(training, _DETECTIONS + suffix, options=settings),
        _GT_BOXES: Evaluation(training, _GT_BOXES + suffix, options={**settings, **_ON_GT_BOXES}),
    }
    return Row(title, tests, published, None if title == gain_over else gain_over)


def _published(number: int) -> dict[str, Mapping[str, Published]]:
    """The paper's figures of a table, by the rows' titles."""
    return {row.title: row.published for row in paper_tables()[number].rows}


def _semantic_row(
    title: str,
    evaluation: Evaluation,
    published: Mapping[str, Mapping[str, Published]],
    gain_over: str | None = None,
) -> Row:
    return Row(title, {_LABEL_MAPS: evaluation}, published[title], gain_over)


def _main(toy: Toy) -> Table:
    pointrend, published = toy.training(f'pointrend_{_MASK_RCNN}'), _published(1)
    base, small, large = '4x conv, 28x28', 'PointRend, 28x28', 'PointRend, 224x224'
    rows = (
        _instance_row(base, toy.training(_MASK_RCNN), published[base], base),
        _instance_row(small, pointrend, published[small], base, 'output-28', subdivision_steps=2),
        _instance_row(large, pointrend, published[large], base),
    )
    return Table(1, 'the mask head of Mask R-CNN', _INSTANCE, rows, comparable=False)


def _inference(toy: Toy) -> Table:
    training, published = toy.training(f'pointrend_{_MASK_RCNN}'), _published(3)
    base = '28x28, N = 28²'
    rows = []
    for side, steps in ((28, 2), (56, 3), (112, 4)):
        title, name = f'{side}x{side}, N = 28²', f'output-{side}'
        rows.append(
            _instance_row(title, training, published[title], base, name, subdivision_steps=steps)
        )
    for side in (14, 28, 56, 112):
        # N = 28² is the config's: the test of Table 1.
        name = '' if side == 28 else f'n-{side}'
        rcnn = {'subdivision_num_points': side**2} if name else {}
        title = f'224x224, N = {side}²'
        rows.append(_instance_row(title, training, published[title], base, name, **rcnn))
    title = 'output resolution and points a step at inference, one model'
    return Table(3, title, _INSTANCE, tuple(rows), comparable=False)


def _selection(toy: Toy) -> Table:
    model, base = f'pointrend_{_MASK_RCNN}', 'regular grid'
    rcnn = 'model.train_cfg.rcnn'
    ratios = (f'{rcnn}.oversample_ratio', f'{rcnn}.importance_sample_ratio')
    strategies: tuple[tuple[str, str | None, Options], ...] = (
        (base, f'{model}_regular', {f'{rcnn}.point_selection.type': 'RegularGridSelection'}),
        ('uniform, k = 1, β = 0', f'{model}_uniform', dict(zip(ratios, (1, 0.0), strict=True))),
        ('mildly biased, k = 3, β = 0.75', None, {}),
        (
            'heavily biased, k = 10, β = 1',
            f'{model}_heavily-biased',
            dict(zip(ratios, (10, 1.0), strict=True)),
        ),
    )
    rows = []
    for title, name, options in strategies:
        # Of AP* and Cityscapes the paper's figures are known for one row alone.
        published = {'COCO AP': _published(4)[title]['COCO AP']}
        training = toy.training(model, name, options)
        rows.append(_instance_row(title, training, published, base))
    title = 'point selection in training, 14² points'
    return Table(4, title, _INSTANCE, tuple(rows), comparable=False)


def _deeplab(toy: Toy) -> Table:
    model, base, published = 'deeplabv3_r18-w16-d16', 'DeepLabV3, output stride 16', _published(6)
    stride_16 = toy.training(model)
    stride_8 = Evaluation(stride_16, 'stride-8', 'shapes/deeplabv3_r18-w16-d8_1xb4-150i_shapes')
    pointrend = Evaluation(toy.training(f'pointrend_{model}'))
    rows = (
        _semantic_row(base, Evaluation(stride_16), published),
        _semantic_row('the same weights, output stride 8', stride_8, published, base),
        _semantic_row('output stride 16 + PointRend', pointrend, published, base),
    )
    return Table(6, 'DeepLabV3', _SEMANTIC, rows, comparable=False)


def _semantic_fpn(toy: Toy) -> Table:
    published = _published(7)
    rows: list[Row] = []
    for levels, model in (('P2-P5', 'fpn_r18-w16'), ('P3-P5', 'fpn-p3-p5_r18-w16')):
        plain, pointrend = toy.training(model), toy.training(f'pointrend_{model}')
        rows.append(_semantic_row(levels, Evaluation(plain), published))
        rows.append(
            _semantic_row(f'{levels} + PointRend', Evaluation(pointrend), published, levels)
        )
    return Table(7, 'SemanticFPN', _SEMANTIC, tuple(rows), comparable=False)
