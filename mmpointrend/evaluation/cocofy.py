# Copyright (c) The mmpointrend authors.
"""LVIS annotations in COCO's categories ("cocofied"), for evaluating COCO models on better masks.

LVIS annotates COCO's images anew, with its own categories. The two vocabularies meet in WordNet's
synsets: LVIS id -> synset -> COCO id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmpointrend.errors import InputError

# Name: COCO's own id (1 to 90, with gaps), synset in LVIS.
COCO_CATEGORIES = {
    'person': (1, 'person.n.01'),
    'bicycle': (2, 'bicycle.n.01'),
    'car': (3, 'car.n.01'),
    'motorcycle': (4, 'motorcycle.n.01'),
    'airplane': (5, 'airplane.n.01'),
    'bus': (6, 'bus.n.01'),
    'train': (7, 'train.n.01'),
    'truck': (8, 'truck.n.01'),
    'boat': (9, 'boat.n.01'),
    'traffic light': (10, 'traffic_light.n.01'),
    'fire hydrant': (11, 'fireplug.n.01'),
    'stop sign': (13, 'stop_sign.n.01'),
    'parking meter': (14, 'parking_meter.n.01'),
    'bench': (15, 'bench.n.01'),
    'bird': (16, 'bird.n.01'),
    'cat': (17, 'cat.n.01'),
    'dog': (18, 'dog.n.01'),
    'horse': (19, 'horse.n.01'),
    'sheep': (20, 'sheep.n.01'),
    'cow': (21, 'beef.n.01'),
    'elephant': (22, 'elephant.n.01'),
    'bear': (23, 'bear.n.01'),
    'zebra': (24, 'zebra.n.01'),
    'giraffe': (25, 'giraffe.n.01'),
    'backpack': (27, 'backpack.n.01'),
    'umbrella': (28, 'umbrella.n.01'),
    'handbag': (31, 'bag.n.04'),
    'tie': (32, 'necktie.n.01'),
    'suitcase': (33, 'bag.n.06'),
    'frisbee': (34, 'frisbee.n.01'),
    'skis': (35, 'ski.n.01'),
    'snowboard': (36, 'snowboard.n.01'),
    'sports ball': (37, 'ball.n.06'),
    'kite': (38, 'kite.n.03'),
    'baseball bat': (39, 'baseball_bat.n.01'),
    'baseball glove': (40, 'baseball_glove.n.01'),
    'skateboard': (41, 'skateboard.n.01'),
    'surfboard': (42, 'surfboard.n.01'),
    'tennis racket': (43, 'tennis_racket.n.01'),
    'bottle': (44, 'bottle.n.01'),
    'wine glass': (46, 'wineglass.n.01'),
    'cup': (47, 'cup.n.01'),
    'fork': (48, 'fork.n.01'),
    'knife': (49, 'knife.n.01'),
    'spoon': (50, 'spoon.n.01'),
    'bowl': (51, 'bowl.n.03'),
    'banana': (52, 'banana.n.02'),
    'apple': (53, 'apple.n.01'),
    'sandwich': (54, 'sandwich.n.01'),
    'orange': (55, 'orange.n.01'),
    'broccoli': (56, 'broccoli.n.01'),
    'carrot': (57, 'carrot.n.01'),
    'hot dog': (58, 'frank.n.02'),
    'pizza': (59, 'pizza.n.01'),
    'donut': (60, 'doughnut.n.02'),
    'cake': (61, 'cake.n.03'),
    'chair': (62, 'chair.n.01'),
    'couch': (63, 'sofa.n.01'),
    'potted plant': (64, 'pot.n.04'),
    'bed': (65, 'bed.n.01'),
    'dining table': (67, 'dining_table.n.01'),
    'toilet': (70, 'toilet.n.02'),
    'tv': (72, 'television_receiver.n.01'),
    'laptop': (73, 'laptop.n.01'),
    'mouse': (74, 'mouse.n.04'),
    'remote': (75, 'remote_control.n.01'),
    'keyboard': (76, 'computer_keyboard.n.01'),
    'cell phone': (77, 'cellular_telephone.n.01'),
    'microwave': (78, 'microwave.n.02'),
    'oven': (79, 'oven.n.01'),
    'toaster': (80, 'toaster.n.02'),
    'sink': (81, 'sink.n.01'),
    'refrigerator': (82, 'electric_refrigerator.n.01'),
    'book': (84, 'book.n.01'),
    'clock': (85, 'clock.n.01'),
    'vase': (86, 'vase.n.01'),
    'scissors': (87, 'scissors.n.01'),
    'teddy bear': (88, 'teddy.n.01'),
    'hair drier': (89, 'hand_blower.n.01'),
    'toothbrush': (90, 'toothbrush.n.01'),
}

FEDERATED = ('neg_category_ids', 'not_exhaustive_category_ids')
_NEEDED = {
    'images': ('id', 'coco_url', *FEDERATED),
    'annotations': ('image_id', 'category_id'),
    'categories': ('id', 'synset'),
}


def lvis_version(content: dict[str, Any]) -> str:
    """Version of LVIS annotations, cocofied or not.

    Args:
        content: An LVIS file as loaded from JSON.

    Returns:
        ``v0.5`` or ``v1``.
    """
    if 'cocofied_from' in content:
        return content['cocofied_from']
    # v1 names its images by their URL alone.
    return 'v0.5' if all('file_name' in image for image in content['images']) else 'v1'


def cocofy(content: dict[str, Any]) -> dict[str, Any]:
    """Keeps what LVIS annotates of COCO's categories, under COCO's names and ids.

    Annotations, ``neg_category_ids`` and ``not_exhaustive_category_ids`` are all mapped; a category
    that occurs in none of them is left out. Of v1, whose validation images are mostly those that
    COCO models were trained on, only COCO's val2017 images are kept. ``file_name`` becomes that of
    COCO 2017. Cocofied annotations stay as they are.

    Args:
        content: An LVIS file, v0.5 or v1, as loaded from JSON; it is left as it is.

    Returns:
        The cocofied content; ``cocofied_from`` is its version.

    Raises:
        InputError: If this is no LVIS file, or one of v1 without a val2017 image.
    """
    check_lvis(content, _NEEDED)
    version = lvis_version(content)
    by_synset = {synset: (number, name) for name, (number, synset) in COCO_CATEGORIES.items()}
    kept = {
        category['id']: dict(category, id=number, name=name)
        for category in content['categories']
        for number, name in [by_synset.get(category['synset'], (None, None))]
        if number is not None
    }
    images = [
        dict(
            image,
            file_name=_file_name(image['coco_url']),
            **{key: [kept[i]['id'] for i in image[key] if i in kept] for key in FEDERATED},
        )
        for image in content['images']
        if version == 'v0.5' or '/val2017/' in image['coco_url']
    ]
    if not images:
        raise InputError('none of its images is one of COCO val2017; take the val file of LVIS.')
    image_ids = {image['id'] for image in images}
    annotations = [
        dict(annotation, category_id=kept[annotation['category_id']]['id'])
        for annotation in content['annotations']
        if annotation['category_id'] in kept and annotation['image_id'] in image_ids
    ]
    used = {annotation['category_id'] for annotation in annotations}
    used.update(number for image in images for key in FEDERATED for number in image[key])
    return dict(
        content,
        cocofied_from=version,
        images=images,
        annotations=annotations,
        categories=sorted(
            (category for category in kept.values() if category['id'] in used),
            key=lambda category: category['id'],
        ),
    )


def _file_name(url: str) -> str:
    """Name of an image, from its address."""
    name = url.rpartition('/')[2]
    if name in ('', '.', '..'):
        raise InputError(f'the coco_url {url!r:.100} names no image.')
    return name


def check_lvis(content: Any, needed: Mapping[str, Sequence[str]]) -> None:
    """Refuse what is not LVIS's.

    Args:
        content: A file as loaded from JSON.
        needed: For each of its lists the keys that every entry must have.

    Raises:
        InputError: A list or key is missing, or of another type.
    """
    for kind, keys in needed.items():
        entries = content.get(kind) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise InputError(f'this is no LVIS file: it has no list of {kind}.')
        lacking = {key for entry in entries for key in keys if key not in entry}
        if lacking:
            raise InputError(
                f'this is no LVIS file: {", ".join(sorted(lacking))} is missing in {kind}.'
            )
        for key in keys:
            odd = [entry[key] for entry in entries if not _fits(key, entry[key])]
            if odd:
                raise InputError(f'this is no LVIS file: {key} in {kind} is {odd[0]!r:.100}.')


def _fits(key: str, value: Any) -> bool:
    """Whether a value is of the type, or one of the values, that LVIS has there."""
    if key in FEDERATED:
        return isinstance(value, list) and all(isinstance(number, int) for number in value)
    if key in ('coco_url', 'synset'):
        return isinstance(value, str)
    return value in ('r', 'c', 'f') if key == 'frequency' else isinstance(value, int)
