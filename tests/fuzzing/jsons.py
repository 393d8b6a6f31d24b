# Copyright (c) The mmpointrend authors.
"""Annotations and metafiles: what datasets, metrics and converters read.

The file name says who reads a file: ``coco.json`` a dataset that makes bitmaps, ``polygons.json`` one that keeps
polygons, ``truth.json`` the COCO metric, ``lvis.json`` AP* or LVIS's metric, ``panoptic.json`` and
``cityscapes.json`` the converters, ``metafile.yml`` the table of published figures.
"""

import importlib.util
import random
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

import mmpointrend
from fuzzing.cases import Case, materialise
from fuzzing.format import Format, special_cases
from fuzzing.mutation import mutate_bytes, mutate_text_object
from fuzzing.outcomes import Escaped

__all__ = ['CLASSES', 'HEIGHT', 'JSONS', 'WIDTH']

CLASSES = ('person', 'dog')
HEIGHT, WIDTH = 12, 16

_OUTLINE = [2.0, 2.0, 9.0, 2.0, 9.0, 8.0]
_TOKENS = (
    *(
        'images',
        'annotations',
        'categories',
        'segmentation',
        'bbox',
        'area',
        'iscrowd',
        'image_id',
        'category_id',
        'id',
    ),
    *(
        'file_name',
        'a.png',
        '../outside.png',
        '/dev/zero',
        'images/../a.png',
        'height',
        'width',
        'counts',
        'size',
    ),
    *(
        'segments_info',
        'isthing',
        'synset',
        'neg_category_ids',
        'coco_url',
        'objects',
        'polygon',
        'label',
        'person',
    ),
    *(
        [_OUTLINE],
        [_OUTLINE[:4]],
        [_OUTLINE[:5]],
        _OUTLINE,
        [[float('nan')] * 6],
        [[1e30] * 6],
        [[-5, -5, 99, -5, 99, 99]],
    ),
    *(
        {'size': [HEIGHT, WIDTH], 'counts': [10, 5, 177]},
        {'size': [HEIGHT, WIDTH], 'counts': 'Zb00`0'},
        [0, 0, 1, 1],
    ),
    *(
        {'size': [10**5, 10**5], 'counts': [10**10]},
        {'size': [HEIGHT, WIDTH], 'counts': [2**31, -5]},
        [0, 0, 0, 0],
    ),
)
_YAML_TOKENS = tuple(
    token.encode()
    for token in (
        *(
            '- ',
            ': ',
            '\n',
            '&a ',
            '*a',
            '<<: ',
            '!!python/object/apply:os.getcwd []',
            '? ',
            '|',
            '>',
        ),
        *('[' * 500, '{', '}', '!!binary ', '.nan', '.inf', '1e999', '2001-01-01'),
        *('Models:', 'Metrics:', 'Results:', 'Tolerance: '),
    )
)


def _mutate(rng: random.Random, case: Case, others: Sequence[Case]) -> Case:
    other = [rng.choice(others).content]
    if case.kind.endswith('.yml'):
        return Case(case.kind, mutate_bytes(rng, case.content, _YAML_TOKENS, other))
    return Case(case.kind, mutate_text_object(rng, case.content, _TOKENS, other))


def _tool(name: str) -> ModuleType:
    path = Path(mmpointrend.__file__).parents[1] / 'tools' / 'dataset_converters' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read_dataset(folder: Path, name: str) -> str:
    """Build the dataset as the runner does, and load its samples."""
    from mmpointrend.engine.runner import CheckedRunner

    dataset = {
        'type': 'mmdet.CocoDataset',
        'data_root': str(folder),
        'ann_file': name,
        'data_prefix': {'img': 'images'},
        'metainfo': {'classes': CLASSES},
        'filter_cfg': {'filter_empty_gt': True, 'min_size': 1},
        'pipeline': [
            {'type': 'LoadImageFromFile'},
            {
                'type': 'mmdet.LoadAnnotations',
                'with_bbox': True,
                'with_mask': True,
                'poly2mask': name == 'coco.json',
            },
        ],
    }
    sampler = {'type': 'DefaultSampler', 'shuffle': False}
    loader = CheckedRunner.build_dataloader(
        {'batch_size': 1, 'num_workers': 0, 'sampler': sampler, 'dataset': dataset}
    )
    samples = [loader.dataset.prepare_data(index) for index in range(len(loader.dataset))]
    masks = sum(len(sample['gt_masks']) for sample in samples if sample)
    return f'{min(len(samples), 3)} images, {min(masks, 5)} masks'


def _read_metric(folder: Path, name: str) -> str:
    """Build the metric as the runner does, and evaluate one mask."""
    from mmpointrend.engine.runner import CheckedRunner

    metrics: Sequence[dict[str, Any]] = [
        {'type': 'mmpointrend.CocoBoundaryMetric', 'metric': kinds}
        for kinds in ('segm', ['bbox', 'boundary'], ['proposal', 'proposal_fast'])
    ]
    if name == 'lvis.json':
        metrics = [
            {'type': 'mmpointrend.APStarMetric'},
            {'type': 'mmpointrend.LVISMetric', 'metric': 'segm'},
        ]
    # Each file is read by one of them, the same in a replay.
    content = (folder / name).read_bytes() if (folder / name).is_file() else b''
    metric = metrics[zlib.crc32(content) % len(metrics)]
    # The runner's method needs nothing of a runner that has a model.
    runner = object.__new__(CheckedRunner)
    evaluator = runner.build_evaluator([{**metric, 'ann_file': str(folder / name)}])
    evaluator.dataset_meta = {'classes': CLASSES}
    evaluator.process([_prediction()])
    figures = evaluator.evaluate(1)
    return f'figures: {", ".join(sorted(figures))[:40]}'


def _prediction() -> dict[str, Any]:
    import torch

    masks = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, 2:8, 2:9] = True
    instances = {
        'bboxes': torch.tensor([[2.0, 2.0, 9.0, 8.0]]),
        'scores': torch.tensor([0.9]),
        'labels': torch.tensor([0]),
        'masks': masks,
    }
    return {'img_id': 1, 'ori_shape': (HEIGHT, WIDTH), 'pred_instances': instances}


def _open(folder: Path) -> Callable[[Case], object]:
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401

    from mmpointrend.evaluation.benchmark import published_figures

    panoptic, cityscapes = _tool('coco_panoptic_to_stuff'), _tool('cityscapes_to_coco')
    images, target, city = folder / 'images', folder / 'target', folder / 'gtFine' / 'city'
    for place in (images, target, city):
        place.mkdir(parents=True, exist_ok=True)
    # Metrics write results into temporary folders: in memory that takes less time than the rest.
    tempfile.tempdir = str(target)
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(images / name), np.full((HEIGHT, WIDTH, 3), 7, np.uint8))
    before: list[list[str]] = []

    def read_panoptic(path: Path) -> str:
        segments = panoptic.read_segments(path)
        for item in list(segments.items())[:4]:
            panoptic.convert(item, source=images, target=target)
        if before != [
            [p.name for p in sorted(folder.iterdir())],
            [p.name for p in sorted(images.iterdir())],
        ]:
            raise Escaped(f'files beside {target}')
        return f'{min(len(segments), 4)} maps'

    def run(case: Case) -> object:
        if case.kind == 'cityscapes.json':
            materialise(case, city / 'a_gtFine_polygons.json')
            content = cityscapes.convert(city.parent, as_pixels=False)
            return f'{min(len(content["annotations"]), 4)} instances'
        path = materialise(case, folder / case.kind)
        match case.kind:
            case 'coco.json' | 'polygons.json':
                return _read_dataset(folder, case.kind)
            case 'truth.json' | 'lvis.json':
                return _read_metric(folder, case.kind)
            case 'panoptic.json':
                before[:] = [
                    [p.name for p in sorted(folder.iterdir())],
                    [p.name for p in sorted(images.iterdir())],
                ]
                return read_panoptic(path)
            case 'metafile.yml':
                return f'{min(len(published_figures(folder / "model.py")), 4)} figures'
        raise ValueError(f'nothing reads {case.kind}')

    return run


def _once() -> list[Case]:
    names = ('coco', 'polygons', 'truth', 'lvis', 'panoptic', 'cityscapes')
    return special_cases(*(f'{name}.json' for name in names), 'metafile.yml')


JSONS = Format('jsons', 150_000, _open, _mutate, _once)
"""Read by datasets, metrics, converters and the benchmark check."""
