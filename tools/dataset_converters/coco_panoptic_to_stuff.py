# Copyright (c) The mmpointrend authors.
"""Write label maps of COCO's stuff out of the panoptic annotations: all things are class 0, the 53 stuff
classes 1 to 53, pixels without a segment 255. detectron2 trains its semantic models on the same maps.

Usage: python tools/dataset_converters/coco_panoptic_to_stuff.py data/coco/annotations/panoptic_val2017.json \\
           data/coco/annotations/panoptic_val2017 data/coco/panoptic_stuff_val2017 [--workers 8]
"""

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from PIL import Image

from mmpointrend.datasets import CocoPanopticStuffDataset
from mmpointrend.engine.launch import run_cli
from mmpointrend.errors import InputError

VOID_LABEL = 255


def labels_of_categories(categories: list[dict[str, Any]]) -> dict[int, int]:
    """Label of each category.

    Args:
        categories: Those of a panoptic file, with ``id``, ``name`` and ``isthing``.

    Returns:
        Category id to label.

    Raises:
        InputError: A stuff category is none of the dataset's classes.
    """
    classes = CocoPanopticStuffDataset.METAINFO['classes']
    unknown = [c['name'] for c in categories if not c['isthing'] and c['name'] not in classes]
    if unknown:
        raise InputError(
            f'stuff categories {", ".join(unknown)} are none of COCO panoptic 2017: take its own '
            'panoptic_{train,val}2017.json.'
        )
    return {c['id']: 0 if c['isthing'] else classes.index(c['name']) for c in categories}


def stuff_labels(segments: np.ndarray, labels: dict[int, int]) -> np.ndarray:
    """Label map of a panoptic map.

    Args:
        segments: Segment id of each pixel, red + 256 green + 65536 blue, shape (H, W).
        labels: Label of each segment id.

    Returns:
        Labels, ``VOID_LABEL`` where there is no segment; uint8, shape (H, W).
    """
    ids, places = np.unique(segments, return_inverse=True)
    table = np.array([labels.get(int(number), VOID_LABEL) for number in ids], dtype=np.uint8)
    return table[places].reshape(segments.shape)


def convert(annotation: dict[str, Any], labels: dict[int, int], source: Path, target: Path) -> None:
    """Write the label map of one image.

    Args:
        annotation: An entry of the panoptic file.
        labels: Label of each category.
        source: Folder of the panoptic PNG files.
        target: Folder of the label maps.

    Raises:
        InputError: The panoptic PNG file is missing or damaged.
    """
    path = source / annotation['file_name']
    try:
        colours = np.asarray(Image.open(path).convert('RGB'), dtype=np.int64)
    except OSError as error:
        raise InputError(f'the panoptic map {path} cannot be read ({error}).') from error
    segments = {s['id']: labels[s['category_id']] for s in annotation['segments_info']}
    label_map = stuff_labels(colours @ np.array([1, 256, 65536]), segments)
    Image.fromarray(label_map).save(target / annotation['file_name'])


def main() -> None:
    """Read the command line, write the label maps, say how many."""
    parser = argparse.ArgumentParser(description='Label maps of stuff from COCO panoptic files.')
    parser.add_argument('annotations', type=Path, help='panoptic json')
    parser.add_argument('source', type=Path, help='folder of the panoptic PNG files')
    parser.add_argument('target', type=Path, help='folder for the label maps; it is made')
    parser.add_argument('--workers', type=int, default=1, help='number of processes')
    args = parser.parse_args()
    try:
        content = json.loads(args.annotations.read_text())
        entries, categories = content['annotations'], content['categories']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{args.annotations} is no COCO panoptic file ({error!r}).') from error
    labels = labels_of_categories(categories)
    args.target.mkdir(parents=True, exist_ok=True)
    work = functools.partial(convert, labels=labels, source=args.source, target=args.target)
    if args.workers > 1:
        mmengine.track_parallel_progress(work, entries, args.workers, keep_order=False)
    else:
        mmengine.track_progress(work, entries)
    print(f'\n{args.target}: {len(entries)} label maps')


if __name__ == '__main__':
    run_cli(main)
