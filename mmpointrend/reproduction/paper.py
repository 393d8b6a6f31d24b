# Copyright (c) The mmpointrend authors.
"""The tables of the paper (arXiv 1912.08193v2) at full scale.

Every published figure carries where the paper has it. Those that its text does not state, and that were not checked
against the table itself, are marked. Table 2 counts operations: ``tools/analysis_tools/get_flops.py`` prints it.
"""

from collections.abc import Mapping

from mmpointrend.reproduction.definitions import (
    Column,
    Evaluation,
    Options,
    Published,
    Row,
    Table,
    Training,
)

__all__ = ['paper_tables']

_COCO, _AP_STAR, _CITYSCAPES, _SEMANTIC = 'coco', 'ap-star', 'cityscapes', 'test'
# The paper states medians: of three runs on COCO, of five on Cityscapes, of both tasks.
_COLUMNS = (
    Column('COCO AP', _COCO, 'coco/segm_mAP', 100, 'median', runs=3),
    Column('AP*', _AP_STAR, 'ap_star/segm_mAP', 100, 'median', runs=3),
    Column('Cityscapes AP', _CITYSCAPES, 'cityscapes/mAP', 100, 'median', runs=5),
)
_MEAN_IOU = (Column('mIoU', _SEMANTIC, 'mIoU', 1, 'median', runs=5),)

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


def _figures(source: str, *values: float, checked: bool = True) -> dict[str, Published]:
    """Published COCO AP, AP* and Cityscapes AP, or the first of them."""
    return {
        column.title: Published(value, source, checked)
        for column, value in zip(_COLUMNS, values, strict=False)
    }


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
    published: Mapping[str, Published],
    variant: str | None = None,
    gain_over: str | None = None,
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
    return Row(title, tests, published, gain_over)


def _main(ap_star: Options) -> Table:
    base, source = '4x conv, 28x28', 'Table 1'
    coco, cityscapes = _instances('mask-rcnn')
    tests = {**_on_coco(ap_star, coco), _CITYSCAPES: Evaluation(cityscapes, _CITYSCAPES)}
    at_56 = _training('instance', 'mask-rcnn-56x56_r50-caffe_fpn_8xb2-1x_coco')
    rows = (
        Row(base, tests, _figures(source, 35.2, 37.6, 33.0)),
        Row('4x conv, 56x56', _on_coco(ap_star, at_56), _figures('text of section 4', 34.5)),
        _rendered(
            ap_star,
            'PointRend, 28x28',
            _figures(source, 36.1, 39.2, 35.5),
            'output-28',
            base,
            subdivision_steps=2,
        ),
        _rendered(
            ap_star, 'PointRend, 224x224', _figures(source, 36.3, 39.7, 35.8), gain_over=base
        ),
    )
    return Table(1, 'the mask head of Mask R-CNN, R50', _COLUMNS, rows)


def _inference(ap_star: Options) -> Table:
    def published(*values: float, checked: bool = False) -> dict[str, Published]:
        return _figures('Table 3', *values, checked=checked)

    resolutions: tuple[tuple[int, int, dict[str, Published]], ...] = (
        (28, 2, published(36.1, 39.2, 35.5)),
        (56, 3, {}),
        (112, 4, published(36.3, 39.7, 35.8)),
    )
    numbers: tuple[tuple[int, dict[str, Published]], ...] = (
        (14, {}),
        (28, published(36.3, 39.7, 35.8, checked=True)),
        (56, published(36.3, 39.7, 35.8)),
        (112, published(36.3, 39.7, 35.8)),
    )
    rows = [
        _rendered(
            ap_star,
            f'{side}x{side}, N = 28²',
            figures,
            f'output-{side}',
            subdivision_steps=steps,
        )
        for side, steps, figures in resolutions
    ]
    for side, figures in numbers:
        title = f'224x224, N = {side}²'
        if side == 28:
            # The config's own: the test of Table 1.
            rows.append(_rendered(ap_star, title, figures))
        else:
            variant = f'n-{side}x{side}'
            rows.append(_rendered(ap_star, title, figures, variant, subdivision_num_points=side**2))
    title = 'output resolution and points a step at inference, one model'
    return Table(3, title, _COLUMNS, tuple(rows))


def _selection(ap_star: Options) -> Table:
    rcnn = 'model.train_cfg.rcnn'
    strategies: tuple[tuple[str, str, float, Options], ...] = (
        (
            'regular grid',
            'regular',
            35.7,
            {f'{rcnn}.point_selection.type': 'mmpointrend.RegularGridSelection'},
        ),
        ('uniform, k = 1, β = 0', 'uniform', 35.9, _ratios(rcnn, 1, 0.0)),
        ('heavily biased, k = 10, β = 1', 'heavily-biased', 34.4, _ratios(rcnn, 10, 1.0)),
    )
    _, cityscapes = _instances('pointrend_mask-rcnn')
    rows = []
    for title, name, figure, options in strategies:
        variant = f'196-points-{name}'
        coco = _training('ablation', f'pointrend_r50-1x_{variant}_coco')
        # configs/ablation has no Cityscapes: the same settings of its config.
        other = Training(f'{cityscapes.name}_{variant}', cityscapes.config, options)
        tests = {**_on_coco(ap_star, coco), _CITYSCAPES: Evaluation(other, _CITYSCAPES)}
        rows.append(Row(title, tests, _figures('Table 4', figure, checked=False)))
    same_model = _figures('Table 1, the same model', 36.3, 39.7, 35.8)
    rows.insert(2, _rendered(ap_star, 'mildly biased, k = 3, β = 0.75', same_model))
    return Table(4, 'point selection in training, 14² points', _COLUMNS, tuple(rows))


def _ratios(rcnn: str, oversample: int, importance: float) -> Options:
    """Settings of k and β."""
    return {
        f'{rcnn}.oversample_ratio': oversample,
        f'{rcnn}.importance_sample_ratio': importance,
    }


def _larger(ap_star: Options) -> Table:
    published = {
        'r50-caffe_fpn': ('R50', (37.2, 39.5), (38.2, 41.5)),
        'r101-caffe_fpn': ('R101', (38.6, 41.4), (39.8, 43.5)),
        'x101-32x8d_fpn': ('X101-32x8d', (39.5, 42.1), (40.9, 44.9)),
    }
    rows = []
    for backbone, (title, *figures) in published.items():
        heads = (('4x conv', 'mask-rcnn'), ('PointRend', 'pointrend_mask-rcnn'))
        base = f'{title}, 4x conv'
        for (head, model), pair in zip(heads, figures, strict=True):
            training = _training('instance', f'{model}_{backbone}_8xb2-3x_coco')
            rows.append(
                Row(
                    f'{title}, {head}',
                    _on_coco(ap_star, training),
                    _figures('Table 5', *pair),
                    base if head == 'PointRend' else None,
                )
            )
    return Table(5, 'larger models, 3x', _COLUMNS[:2], tuple(rows))


def _label_maps(
    title: str, evaluation: Evaluation, published: Published, gain_over: str | None = None
) -> Row:
    return Row(title, {_SEMANTIC: evaluation}, {'mIoU': published}, gain_over)


def _deeplab() -> Table:
    size, base, source = '8xb2-90k_cityscapes-768x768', 'DeepLabV3, output stride 16', 'Table 6'
    stride_16 = _training('semantic', f'deeplabv3_r103-d16_{size}')
    stride_8 = Evaluation(stride_16, 'stride-8', f'semantic/deeplabv3_r103-d8_{size}')
    pointrend = _training('semantic', f'pointrend_deeplabv3_r103-d16_{size}')
    rows = (
        _label_maps(base, Evaluation(stride_16), Published(77.2, source)),
        _label_maps('the same weights, output stride 8', stride_8, Published(77.8, source), base),
        _label_maps(
            'output stride 16 + PointRend', Evaluation(pointrend), Published(78.4, source), base
        ),
    )
    return Table(6, 'DeepLabV3 R103, Cityscapes', _MEAN_IOU, rows)


def _semantic_fpn() -> Table:
    published = {
        ('P2-P5', 'fpn_r101-caffe'): (77.7, 78.6),
        ('P3-P5', 'fpn-p3-p5_r101-caffe'): (77.4, 78.5),
    }
    rows = []
    for (levels, model), figures in published.items():
        name = f'{model}_8xb4-65k_cityscapes-512x1024'
        without, rendered = (Published(figure, 'Table 7') for figure in figures)
        plain = Evaluation(_training('semantic', name))
        pointrend = Evaluation(_training('semantic', f'pointrend_{name}'))
        rows.append(_label_maps(levels, plain, without))
        rows.append(_label_maps(f'{levels} + PointRend', pointrend, rendered, levels))
    return Table(7, 'SemanticFPN R101, Cityscapes', _MEAN_IOU, tuple(rows))
