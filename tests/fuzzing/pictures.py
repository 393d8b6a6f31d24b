# Copyright (c) The mmpointrend authors.
"""Images and label maps, read by the loading steps of a pipeline as the runner sets it up."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fuzzing.cases import Case, materialise
from fuzzing.containers import mutate_png
from fuzzing.format import Format, special_cases
from fuzzing.mutation import mutate_bytes

__all__ = ['IMAGES', 'LABEL_MAPS']

HEIGHT, WIDTH = 12, 16
_TOKENS = (
    *(
        b'\xff\xd8\xff',
        b'\xff\xc0',
        b'\xff\xc2',
        b'\xff\xda',
        b'\xff\xdb',
        b'\xff\xe1',
        b'\xff\xd9',
        b'Exif\0\0',
        b'JFIF\0',
    ),
    *(
        b'II*\0',
        b'MM\0*',
        b'II+\0',
        b'BM',
        b'RIFF',
        b'WEBP',
        b'VP8 ',
        b'VP8L',
        b'VP8X',
        b'ALPH',
        b'ANIM',
        b'GIF89a',
    ),
    *(
        b'P5\n',
        b'P6 99999 99999 255\n',
        b'Pf',
        b'\x89PNG\r\n\x1a\n',
        b'#?RADIANCE\n',
        b'\x12\x01\x03\0\x01\0\0\0\x06\0\0\0',
    ),
)


def _mutate(rng: random.Random, case: Case, others: Sequence[Case]) -> Case:
    content = case.content
    changed = mutate_png(rng, content) if rng.random() < 0.7 else content
    if changed == content:
        changed = mutate_bytes(rng, content, _TOKENS, [rng.choice(others).content])
    return Case(case.kind, changed)


def _semantic(folder: Path) -> Any:
    """A dataset of one image and its label map, whose loading steps name their files."""
    import mmseg.datasets  # noqa: F401

    from mmpointrend.engine.runner import CheckedRunner

    for name in ('images', 'labels'):
        (folder / name).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / 'images' / 'a.png'), np.full((HEIGHT, WIDTH, 3), 7, np.uint8))
    cv2.imwrite(str(folder / 'labels' / 'a.png'), np.zeros((HEIGHT, WIDTH), np.uint8))
    dataset = {
        'type': 'mmseg.BaseSegDataset',
        'data_root': str(folder),
        'data_prefix': {'img_path': 'images', 'seg_map_path': 'labels'},
        'img_suffix': '.png',
        'metainfo': {'classes': ('a', 'b', 'c'), 'palette': [[0, 0, 0]] * 3},
        'pipeline': [{'type': 'mmseg.LoadImageFromFile'}, {'type': 'mmseg.LoadAnnotations'}],
    }
    sampler = {'type': 'DefaultSampler', 'shuffle': False}
    loader = {'batch_size': 1, 'num_workers': 0, 'sampler': sampler, 'dataset': dataset}
    return CheckedRunner.build_dataloader(loader).dataset


def _opening(place: str, key: str) -> Callable[[Path], Callable[[Case], object]]:
    def opened(folder: Path) -> Callable[[Case], object]:
        dataset = _semantic(folder)
        path = folder / place / 'a.png'

        def run(case: Case) -> object:
            materialise(case, path)
            array = dataset.prepare_data(0)[key]
            return f'{array.dtype}, {array.ndim} axes, {"as" if array.shape[:2] == (HEIGHT, WIDTH) else "other"} size'

        return run

    return opened


IMAGES = Format(
    'images', 150_000, _opening('images', 'img'), _mutate, lambda: special_cases('image.png')
)
"""Read by the step that loads images."""

LABEL_MAPS = Format(
    'label_maps',
    150_000,
    _opening('labels', 'gt_seg_map'),
    _mutate,
    lambda: special_cases('labels.png'),
)
"""Read by the step that loads label maps."""
