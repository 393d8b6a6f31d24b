# Copyright (c) The mmpointrend authors.
"""Rewrite a COCO annotation file so that all its categories become one.

A few hundred images teach a detector nothing about 80 classes, but enough about what an object is:
class-agnostic instance segmentation. Boxes, polygons, areas and crowd flags stay as they are.

Usage: python tools/dataset_converters/coco_to_one_class.py IN.json OUT.json [--name object] [--images IDS.yml]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mmpointrend.data_files import read_json, read_yaml
from mmpointrend.errors import InputError


def take_images(annotations: dict[str, Any], ids: Any) -> dict[str, Any]:
    """Leave out all images but some, and their annotations.

    Args:
        annotations: A COCO instances file as loaded from JSON; it is left as it is.
        ids: Ids of the images, in the order in which they are to stand.

    Returns:
        A copy with these images.

    Raises:
        ValueError: If `ids` is no list of numbers, or the file has no image of one of them.
    """
    if not isinstance(ids, list) or not all(isinstance(number, int) for number in ids):
        raise ValueError('the ids of images are to be a list of whole numbers')
    images = {image.get('id'): image for image in annotations['images']}
    lacking = [number for number in ids if number not in images]
    if lacking:
        raise ValueError(
            f'{len(lacking)} of {len(ids)} images are not there, such as id {lacking[0]}'
        )
    wanted = set(ids)
    taken = dict(annotations, images=[images[number] for number in ids])
    taken['annotations'] = [a for a in annotations['annotations'] if a.get('image_id') in wanted]
    return taken


def merge_categories(annotations: dict[str, Any], name: str) -> dict[str, Any]:
    """Give every annotation category 1.

    Args:
        annotations: A COCO instances file as loaded from JSON; it is left as it is.
        name: The name of the only category.

    Returns:
        A copy with one category, id 1, and the same images and annotations.

    Raises:
        ValueError: If the file has no `images`, `annotations` or `categories`.
    """
    kinds = ('images', 'annotations', 'categories')
    missing = [key for key in kinds if not _is_list_of_dicts(annotations, key)]
    if missing:
        raise ValueError(f'this is no COCO instances file: it has no {", ".join(missing)}')
    merged = dict(annotations)
    merged['categories'] = [dict(id=1, name=name, supercategory=name)]
    merged['annotations'] = [dict(a, category_id=1) for a in annotations['annotations']]
    return merged


def _is_list_of_dicts(content: Any, key: str) -> bool:
    entries = content.get(key) if isinstance(content, dict) else None
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)


def main() -> None:
    """Read the command line, write the file, say what was written."""
    parser = argparse.ArgumentParser(description='Merge all categories of a COCO file into one.')
    parser.add_argument('source', type=Path, help='COCO instances json')
    parser.add_argument('target', type=Path, help='where to write; its folder is made')
    parser.add_argument('--name', default='object', help='name of the only category')
    parser.add_argument(
        '--images', type=Path, help='.yml with a list of ids: images that are taken; default all'
    )
    args = parser.parse_args()
    try:
        merged = merge_categories(read_json(args.source), args.name)
        if args.images is not None:
            merged = take_images(merged, read_yaml(args.images))
    except InputError as error:
        parser.error(str(error))
    except ValueError as error:
        parser.error(f'{args.source}: {error}')
    try:
        args.target.parent.mkdir(parents=True, exist_ok=True)
        args.target.write_text(json.dumps(merged))
    except OSError as error:
        parser.error(f'{args.target} cannot be written ({error})')
    print(
        f'{args.target}: {len(merged["images"])} images, {len(merged["annotations"])} '
        f'annotations of {args.name!r}'
    )


if __name__ == '__main__':
    main()
