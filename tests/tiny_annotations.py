# Copyright (c) The mmpointrend authors.
"""Small COCO and LVIS annotations in memory, and predictions that equal them."""

import json

import numpy as np
import torch
from pycocotools import mask as mask_api

SIDE = 64


def rectangles(classes, images=2, first_id=1, **image_keys):
    """COCO annotations: in each image one rectangle of each class, in the order of ``classes``, whose ids count down.

    Ids of categories are 10, 9, ..., so that the order of names is not that of the ids.
    """
    content = dict(
        images=[
            dict(id=7 + n, file_name=f'{n}.png', height=SIDE, width=SIDE, **image_keys)
            for n in range(images)
        ],
        annotations=[],
        categories=[
            dict(id=len(classes) + 9 - n, name=name, frequency='rcf'[n % 3], synset=name)
            for n, name in enumerate(classes)
        ],
    )
    for image in content['images']:
        for n, category in enumerate(content['categories']):
            x, y, w, h = 2 + 3 * n, 5 + 2 * n, 20 + 5 * n, 15 + image['id']
            content['annotations'].append(
                dict(
                    id=first_id + len(content['annotations']),
                    image_id=image['id'],
                    category_id=category['id'],
                    iscrowd=0,
                    bbox=[x, y, w, h],
                    area=w * h,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )
    return content


def write(content, path):
    """Writes annotations; returns the path as text."""
    path.write_text(json.dumps(content))
    return str(path)


def mask_of(annotation):
    """(SIDE, SIDE) bool mask of an annotation's polygons."""
    parts = mask_api.frPyObjects(annotation['segmentation'], SIDE, SIDE)
    return mask_api.decode(mask_api.merge(parts)).astype(bool)


def perfect_samples(content, classes):
    """What mmdet hands to a metric if a model of ``classes`` finds all that is annotated, and nothing else."""
    names = {category['id']: category['name'] for category in content['categories']}
    samples = []
    for image in content['images']:
        own = [
            a
            for a in content['annotations']
            if a['image_id'] == image['id'] and names[a['category_id']] in classes
        ]
        boxes = torch.tensor([a['bbox'] for a in own], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = np.array([mask_of(a) for a in own]).reshape(-1, SIDE, SIDE)
        labels = [classes.index(names[a['category_id']]) for a in own]
        samples.append(
            dict(
                img_id=image['id'],
                ori_shape=(SIDE, SIDE),
                pred_instances=dict(
                    bboxes=boxes,
                    scores=torch.linspace(0.9, 0.5, len(own)),
                    labels=torch.tensor(labels, dtype=torch.long),
                    masks=torch.from_numpy(masks),
                ),
            )
        )
    return samples


def figures_of(metric, samples, classes):
    """Runs a metric as mmengine's loops do; figures without the prefix."""
    metric.dataset_meta = dict(classes=classes)
    if samples:
        metric.process({}, samples)
    figures = metric.evaluate(len(samples))
    return {name.rpartition('/')[2]: value for name, value in figures.items()}
