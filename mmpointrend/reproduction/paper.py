# Copyright (c) The mmpointrend authors.
"""The tables of the paper (arXiv 1912.08193v2) at full scale.

Published figures stand here where they are known for sure. Table 2 counts operations:
``tools/analysis_tools/get_flops.py`` prints it.
"""

from collections.abc import Mapping

from mmpointrend.reproduction.definitions import (
    Column,
    Evaluation,
    Options,
    Row,
    Table,
    Training,
)

__all__ = ['PUBLISHED_4X_CONV', 'PUBLISHED_28', 'PUBLISHED_224', 'paper_tables']

PUBLISHED_4X_CONV = {'COCO AP': 35.2, 'AP*': 37.6, 'Cityscapes AP': 33.0}
"""Mask R-CNN R50 with its own head (Table 1)."""
PUBLISHED_28 = {'COCO AP': 36.1, 'AP*': 39.2, 'Cityscapes AP': 35.5}
"""PointRend R50, masks of 28x28 (Tables 1 and 3)."""
PUBLISHED_224 = {'COCO AP': 36.3, 'AP*': 39.7, 'Cityscapes AP': 35.8}
"""PointRend R50, masks of 224x224 (Tables 1, 3 and 4); those of 112x112 have the same figures."""

_COCO, _AP_STAR, _CITYSCAPES, _SEMANTIC = 'coco', 'ap-star', 'cityscapes', 'test'
_COLUMNS = (
    Column('COCO AP', _COCO, 'coco/segm_mAP', 100),
    Column('AP*', _AP_STAR, 'ap_star/segm_mAP', 100),
    Column('Cityscapes AP', _CITYSCAPES, 'cityscapes/mAP', 100),
)
_MEAN_IOU = (Column('mIoU', _SEMANTIC, 'mIoU'),)

_LVIS = 'data/lvis_v0.5/annotations/lvis_v0.5_val.json'


def paper_tables(lvis: str = _LVIS) -> dict[int, Table]:
    """The tables by their number in the paper.

    Args:
        lvis: LVIS v0.5 annotations of the validation set, which AP* is measured on.

    Returns:
        Tables 1 and 3 to 7.
    """
    ap_star: Options = {
        'test_evaluator._delete_': True,
        'test_evaluator.type': 'mmpointrend.APStarMetric',
        'test_evaluator.ann_file': lvis,
    }
    instances = (_main(ap_star), _inference(ap_star), _selection(ap_star), _larger(ap_star))
    tables = (*instances, _deeplab(), _semantic_fpn())
    return {table.number: table for table in tables}


def _training(folder: str, name: str) -> Training:
    return Training(name, f'{folder}/{name}')


def _instances(model: str) -> tuple[Training, Training]:
    """Trainings of an R50 model on COCO and on Cityscapes."""
    return (
        _training('instance', f'{model}_r50-caffe_fpn_8xb2-1x_coco'),
        _training('instance', f'{model}_r50-caffe_fpn_8xb1-24k_cityscapes'),
    )


def _on_coco(
    ap_star: Options, training: Training, config: str | None = None
) -> dict[str, Evaluation]:
    """AP and AP* of a training, by its own or another config; ``ap_star`` turns AP into AP*."""
    suffix = '' if config is None else f'_{config.partition("_")[2]}'
    path = None if config is None else f'ablation/{config}'
    return {
        _COCO: Evaluation(training, _COCO + suffix, path),
        _AP_STAR: Evaluation(training, _AP_STAR + suffix, path, ap_star),
    }


def _rendered(
    ap_star: Options,
    title: str,
    published: Mapping[str, float],
    variant: str | None = None,
    **rcnn: int,
) -> Row:
    """A row of the R50 PointRend models, tested by a config of ``configs/ablation``.

    Cityscapes has no configs of its own there: ``rcnn`` are the same settings of
    model.test_cfg.rcnn.
    """
    coco, cityscapes = _instances('pointrend_mask-rcnn')
    config = None if variant is None else f'pointrend_r50-1x_{variant}_coco'
    settings = {f'model.test_cfg.rcnn.{key}': value for key, value in rcnn.items()}
    name = _CITYSCAPES if variant is None else f'{_CITYSCAPES}_{variant}'
    tests = {
        **_on_coco(ap_star, coco, config),
        _CITYSCAPES: Evaluation(cityscapes, name, options=settings),
    }
    return Row(title, tests, published)


def _main(ap_star: Options) -> Table:
    coco, cityscapes = _instances('mask-rcnn')
    tests = {**_on_coco(ap_star, coco), _CITYSCAPES: Evaluation(cityscapes, _CITYSCAPES)}
    at_56 = _training('instance', 'mask-rcnn-56x56_r50-caffe_fpn_8xb2-1x_coco')
    rows = (
        Row('4x conv, 28x28', tests, PUBLISHED_4X_CONV),
        Row('4x conv, 56x56', _on_coco(ap_star, at_56), {'COCO AP': 34.5}),
        _rendered(ap_star, 'PointRend, 28x28', PUBLISHED_28, 'output-28', subdivision_steps=2),
        _rendered(ap_star, 'PointRend, 224x224', PUBLISHED_224),
    )
    return Table(1, 'the mask head of Mask R-CNN, R50', _COLUMNS, rows, statistic='median')


def _inference(ap_star: Options) -> Table:
    rows = (
        _rendered(ap_star, '28x28, N = 28²', PUBLISHED_28, 'output-28', subdivision_steps=2),
        _rendered(ap_star, '56x56, N = 28²', {}, 'output-56', subdivision_steps=3),
        _rendered(ap_star, '112x112, N = 28²', PUBLISHED_224, 'output-112', subdivision_steps=4),
        _rendered(ap_star, '224x224, N = 14²', {}, 'n-14x14', subdivision_num_points=14**2),
        _rendered(ap_star, '224x224, N = 28²', PUBLISHED_224),
        _rendered(
            ap_star, '224x224, N = 56²', PUBLISHED_224, 'n-56x56', subdivision_num_points=56**2
        ),
        _rendered(
            ap_star, '224x224, N = 112²', PUBLISHED_224, 'n-112x112', subdivision_num_points=112**2
        ),
    )
    title = 'output resolution and points a step at inference, one model'
    return Table(3, title, _COLUMNS, rows, statistic='median')


def _selection(ap_star: Options) -> Table:
    strategies = (
        ('regular grid', 'regular', {'COCO AP': 35.7}),
        ('uniform, k = 1, β = 0', 'uniform', {'COCO AP': 35.9}),
        ('mildly biased, k = 3, β = 0.75', 'mildly-biased', {'COCO AP': 36.3, 'AP*': 39.7}),
        ('heavily biased, k = 10, β = 1', 'heavily-biased', {'COCO AP': 34.4}),
    )
    rows = tuple(
        Row(
            title,
            _on_coco(ap_star, _training('ablation', f'pointrend_r50-1x_49-points-{name}_coco')),
            at,
        )
        for title, name, at in strategies
    )
    note = 'The published figure of the mildly biased selection is also that of 14² points.'
    return Table(
        4, 'point selection in training', _COLUMNS[:2], rows, statistic='median', note=note
    )


def _larger(ap_star: Options) -> Table:
    published = {
        'r50-caffe_fpn': ('R50', (37.2, 39.5), (38.2, 41.5)),
        'r101-caffe_fpn': ('R101', (38.6, 41.4), (39.8, 43.5)),
        'x101-32x8d_fpn': ('X101-32x8d', (39.5, 42.1), (40.9, 44.9)),
    }
    rows = []
    for backbone, (title, *figures) in published.items():
        heads = (('4x conv', 'mask-rcnn'), ('PointRend', 'pointrend_mask-rcnn'))
        for (head, model), pair in zip(heads, figures, strict=True):
            training = _training('instance', f'{model}_{backbone}_8xb2-3x_coco')
            targets = dict(zip(('COCO AP', 'AP*'), pair, strict=True))
            rows.append(Row(f'{title}, {head}', _on_coco(ap_star, training), targets))
    return Table(5, 'larger models, 3x', _COLUMNS[:2], tuple(rows), statistic='median')


def _label_maps(title: str, training: Training, published: float) -> Row:
    return Row(title, {_SEMANTIC: Evaluation(training)}, {'mIoU': published})


def _deeplab() -> Table:
    size = '8xb2-90k_cityscapes-768x768'
    stride_16 = _training('semantic', f'deeplabv3_r103-d16_{size}')
    stride_8 = Evaluation(stride_16, 'stride-8', f'semantic/deeplabv3_r103-d8_{size}')
    pointrend = _training('semantic', f'pointrend_deeplabv3_r103-d16_{size}')
    rows = (
        _label_maps('DeepLabV3, output stride 16', stride_16, 77.2),
        Row('the same weights, output stride 8', {_SEMANTIC: stride_8}, {'mIoU': 77.8}),
        _label_maps('output stride 16 + PointRend', pointrend, 78.4),
    )
    return Table(6, 'DeepLabV3 R103, Cityscapes', _MEAN_IOU, rows)


def _semantic_fpn() -> Table:
    published = {
        ('P2-P5', 'fpn_r101-caffe'): (77.7, 78.6),
        ('P3-P5', 'fpn-p3-p5_r101-caffe'): (77.4, 78.5),
    }
    rows = []
    for (levels, model), (without, rendered) in published.items():
        name = f'{model}_8xb4-65k_cityscapes-512x1024'
        rows.append(_label_maps(levels, _training('semantic', name), without))
        pointrend = _training('semantic', f'pointrend_{name}')
        rows.append(_label_maps(f'{levels} + PointRend', pointrend, rendered))
    return Table(7, 'SemanticFPN R101, Cityscapes', _MEAN_IOU, tuple(rows))
