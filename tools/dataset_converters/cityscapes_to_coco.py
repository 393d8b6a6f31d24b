# Copyright (c) The mmpointrend authors.
"""Write Cityscapes' instances as COCO annotations, for mmdet's ``CityscapesDataset``.

The eight classes with instances that Cityscapes evaluates; groups of objects become crowds. Masks
are polygons without the parts that objects in front hide, so that they can be rasterised after
resizing (``poly2mask=False``); with ``--rle`` they are the pixels of ``*_gtFine_instanceIds.png``.

Usage: python tools/dataset_converters/cityscapes_to_coco.py data/cityscapes
    reads data/cityscapes/gtFine/{train,val} and writes
    data/cityscapes/annotations/instancesonly_filtered_gtFine_{train,val}.json, as mmdet's configs
    call them.
"""

import argparse
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_api
from shapely import make_valid
from shapely.errors import ShapelyError
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from mmpointrend.data_files import check_regular
from mmpointrend.engine.launch import output_file, run_cli
from mmpointrend.errors import ConfigError, InputError

try:
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.helpers.labels import id2label, labels, name2label
except ImportError:
    labels = None

_POLYGONS, _IDS = '_gtFine_polygons.json', '_gtFine_instanceIds.png'


def evaluated(label: Any) -> bool:
    """Whether Cityscapes evaluates instances of a label."""
    return label.hasInstances and not label.ignoreInEval


def without_holes(geometry: BaseGeometry) -> Iterator[Polygon]:
    """Polygons that together cover a geometry, none with a hole: COCO's cannot have one.

    A polygon with a hole is cut in two along a vertical line through the hole.

    Args:
        geometry: A polygon, or several; points and lines are left out.
    """
    for part in getattr(geometry, 'geoms', [geometry]):
        if not isinstance(part, Polygon) or part.is_empty:
            continue
        if not part.interiors:
            yield part
            continue
        left, bottom, right, top = part.bounds
        middle = Polygon(part.interiors[0]).centroid.x
        for side in (box(left, bottom, middle, top), box(middle, bottom, right, top)):
            yield from without_holes(part.intersection(side))


def visible_polygons(path: Path) -> Iterator[dict[str, Any]]:
    """Instances of a polygon file: what is not hidden by objects drawn later.

    Coordinates are COCO's: (0, 0) is the outer corner of the first pixel. Cityscapes' are pixel
    centres, and its rasteriser fills outlines with their rim, so that a polygon is half a pixel
    larger on all sides.

    Args:
        path: ``*_gtFine_polygons.json``.
    """
    annotation = Annotation()
    annotation.fromJsonFile(str(path))
    hidden: BaseGeometry = Polygon()
    for item in reversed(annotation.objects):
        name = item.label
        group = name not in name2label and name.endswith('group')
        if group:
            name = name.removesuffix('group')
        if name not in name2label:
            raise InputError(f'{path}: Cityscapes has no label {item.label!r}.')
        label = name2label[name]
        if item.deleted or label.id < 0 or len(item.polygon) < 3:
            continue
        if not np.isfinite(item.polygon).all():
            raise InputError(f'{path}: an outline of {item.label!r} has a point that is no number.')
        # An outline may cross itself; what it encloses then is what the rasteriser fills.
        outline = make_valid(Polygon(np.array(item.polygon) + 0.5))
        outline = outline.buffer(0.5, join_style='mitre', mitre_limit=2)
        shape = outline.intersection(box(0, 0, annotation.imgWidth, annotation.imgHeight))
        visible = shape.difference(hidden)
        hidden = hidden.union(shape)
        parts = list(without_holes(visible))
        if not evaluated(label) or not parts:
            continue
        left, upper, right, lower = visible.bounds
        yield dict(
            category_id=label.id,
            iscrowd=int(group),
            area=visible.area,
            bbox=[left, upper, right - left, lower - upper],
            segmentation=[
                np.array(part.exterior.coords)[:-1].round(2).ravel().tolist() for part in parts
            ],
        )


def instance_pixels(path: Path) -> Iterator[dict[str, Any]]:
    """Instances of an image of instance ids.

    Args:
        path: ``*_gtFine_instanceIds.png``.
    """
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2:
        raise InputError(f'{path} is missing, damaged or no image of ids; copy it anew.')
    for number in np.unique(ids):
        # Single objects are numbered from 1000 times their label, groups have the label alone.
        label = id2label.get(int(number if number < 1000 else number // 1000))
        if label is None:
            raise InputError(f'{path}: Cityscapes has no label of id {number}.')
        if not evaluated(label):
            continue
        code = mask_api.encode(np.asfortranarray(ids == number, np.uint8))
        yield dict(
            category_id=label.id,
            iscrowd=int(number < 1000),
            area=int(mask_api.area(code)),
            bbox=mask_api.toBbox(code).tolist(),
            segmentation=dict(size=code['size'], counts=code['counts'].decode()),
        )


def convert(folder: Path, as_pixels: bool) -> dict[str, Any]:
    """COCO annotations of a split.

    Args:
        folder: ``gtFine/train`` or ``gtFine/val``, with a folder for each city.
        as_pixels: Masks from instance ids, as RLE, instead of polygons.

    Raises:
        InputError: If there is nothing to convert, or a file is damaged.
    """
    content: dict[str, Any] = dict(
        images=[],
        annotations=[],
        categories=[dict(id=label.id, name=label.name) for label in labels if evaluated(label)],
    )
    for path in sorted(folder.glob(f'*/*{_POLYGONS}')):
        stem = path.name.removesuffix(_POLYGONS)
        check_regular(path, 'the polygon file')
        try:
            size = json.loads(path.read_text())
            image = dict(
                id=len(content['images']),
                file_name=f'{path.parent.name}/{stem}_leftImg8bit.png',
                width=size['imgWidth'],
                height=size['imgHeight'],
            )
            if any(type(image[side]) is not int or image[side] < 1 for side in ('width', 'height')):
                raise InputError(
                    f'{path}: imgWidth and imgHeight are {reprlib.repr(image["width"])} and '
                    f'{reprlib.repr(image["height"])}: write whole numbers of pixels.'
                )
            instances = list(
                instance_pixels(path.with_name(stem + _IDS))
                if as_pixels
                else visible_polygons(path)
            )
        except InputError:
            raise
        except (
            ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError,
            RecursionError, ShapelyError,
        ) as error:  # fmt: skip
            raise InputError(f'{path} is damaged or no polygon file ({error!r}).') from error
        content['images'].append(image)
        for instance in instances:
            number = len(content['annotations']) + 1
            content['annotations'].append(dict(instance, id=number, image_id=image['id']))
    if not content['images']:
        raise InputError(
            f'there is no */*{_POLYGONS} in {folder}: unpack gtFine_trainvaltest.zip there.'
        )
    return content


def main() -> None:
    """Read the command line, write a file for each split, say what was written."""
    parser = argparse.ArgumentParser(description="Cityscapes' instances as COCO annotations.")
    parser.add_argument('root', type=Path, help='the folder with gtFine')
    parser.add_argument('--out-dir', type=Path, help='where to write; default ROOT/annotations')
    parser.add_argument('--splits', nargs='+', default=['train', 'val'])
    parser.add_argument('--rle', action='store_true', help='masks as RLE of the instance ids')
    args = parser.parse_args()
    if labels is None:
        raise ConfigError(
            'this tool needs cityscapesscripts: pip install "mmpointrend[cityscapes]".'
        )
    out = args.out_dir or args.root / 'annotations'
    for split in args.splits:
        content = convert(args.root / 'gtFine' / split, args.rle)
        target = output_file(out / f'instancesonly_filtered_gtFine_{split}.json')
        target.write_text(json.dumps(content))
        crowds = sum(item['iscrowd'] for item in content['annotations'])
        print(
            f'{target}: {len(content["images"])} images, {len(content["annotations"])} instances, '
            f'{crowds} of them groups'
        )


if __name__ == '__main__':
    run_cli(main)
