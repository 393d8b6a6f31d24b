# Copyright (c) The mmpointrend authors.
"""Write label maps of COCO's stuff out of the panoptic annotations: all things are class 0, the 53 stuff
classes 1 to 53, pixels without a segment 255. detectron2 trains its semantic models on the same maps.

Usage: python tools/dataset_converters/coco_panoptic_to_stuff.py data/coco/annotations/panoptic_val2017.json \\
           data/coco/annotations/panoptic_val2017 data/coco/panoptic_stuff_val2017 [--workers 8]
"""

import argparse
import functools
from collections.abc import Iterable
from contextlib import nullcontext
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from mmpointrend.data_files import check_regular, inside, read_json
from mmpointrend.datasets import CocoPanopticStuffDataset
from mmpointrend.engine.launch import output_file, run_cli
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


def read_segments(path: Path) -> dict[str, dict[int, int]]:
    """Read a panoptic file.

    Args:
        path: The json file.

    Returns:
        For each of its maps, by file name, the label of each segment id.

    Raises:
        InputError: It is no panoptic file of COCO 2017.
    """
    content = read_json(path)
    try:
        labels = labels_of_categories(content['categories'])
        segments = {
            entry['file_name']: {s['id']: labels[s['category_id']] for s in entry['segments_info']}
            for entry in content['annotations']
        }
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} is no COCO panoptic file ({error!r}).') from error
    if not segments:
        raise InputError(f'{path} is no COCO panoptic file: it has no annotations.')
    return segments


def convert(item: tuple[str, dict[int, int]], source: Path, target: Path) -> None:
    """Write the label map of one image.

    Args:
        item: File name of the panoptic map, and the label of each of its segments.
        source: Folder of the panoptic PNG files.
        target: Folder of the label maps.

    Raises:
        InputError: The panoptic PNG file is missing or damaged, or a file lies outside of its folder.
    """
    name, labels = item
    path, goal = inside(source, name), inside(target, name)
    check_regular(path, 'the panoptic map')
    try:
        colours = np.asarray(Image.open(path).convert('RGB'), dtype=np.int64)
    # An image of more pixels than PIL takes is an error of its own.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f'the panoptic map {path} cannot be read ({error}).') from error
    label_map = stuff_labels(colours @ np.array([1, 256, 65536]), labels)
    output_file(goal)
    try:
        Image.fromarray(label_map).save(goal, format='png')
    except OSError as error:
        raise InputError(f'{goal} cannot be written ({error}); give another one.') from error


def check_names(names: Iterable[Any], source: Path, target: Path) -> None:
    """Refuse names that lead out of the folders, before anything is written.

    Args:
        names: Those of the maps, as the panoptic file has them.
        source: Folder of the panoptic PNG files.
        target: Folder of the label maps.

    Raises:
        InputError: A name leads out, or is not of a PNG file, or the two folders are one.
    """
    if source.resolve() == target.resolve():
        raise InputError(
            f'{target} holds the panoptic maps, which would be overwritten: give another folder.'
        )
    for name in names:
        # Links are looked at when a file is opened.
        inside(target, name, follow_links=True)
        if not name.endswith('.png'):
            raise InputError(f'the file name {name!r:.200} is not of a PNG file.')


def main() -> None:
    """Read the command line, write the label maps, say how many."""
    parser = argparse.ArgumentParser(description='Label maps of stuff from COCO panoptic files.')
    parser.add_argument('annotations', type=Path, help='panoptic json')
    parser.add_argument('source', type=Path, help='folder of the panoptic PNG files')
    parser.add_argument('target', type=Path, help='folder for the label maps; it is made')
    parser.add_argument('--workers', type=int, default=1, help='number of processes')
    args = parser.parse_args()
    segments = read_segments(args.annotations)
    check_names(segments, args.source, args.target)
    work = functools.partial(convert, source=args.source, target=args.target)
    # A pool that is left by an error ends its processes; one worker is this process.
    with Pool(args.workers) if args.workers > 1 else nullcontext() as pool:
        done = pool.imap_unordered(work, segments.items()) if pool else map(work, segments.items())
        for _ in track(done, description='label maps', total=len(segments)):
            pass
    print(f'{args.target}: {len(segments)} label maps')


if __name__ == '__main__':
    run_cli(main)
