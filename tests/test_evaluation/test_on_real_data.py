# Copyright (c) The mmpointrend authors.
"""The metrics on real annotations: the truth itself is perfect, the truth moved aside is not."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from pycocotools.coco import COCO

from mmpointrend.datasets import CamVidDataset
from mmpointrend.registry import METRICS

VOID = 11


def evaluate(metrics: list[dict], classes: tuple[str, ...], samples: list) -> dict[str, float]:
    """Runs metrics as mmengine's loops do, from the registry."""
    evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    evaluator.dataset_meta = {'classes': classes}
    for sample in samples:
        evaluator.process(data_samples=[sample], data_batch=None)
    return evaluator.evaluate(len(samples))


def coco_samples(coco: COCO, classes: tuple[str, ...], shift: int) -> list[dict]:
    """The truth without crowds, its masks moved to the right, as mmdet's models would answer."""
    labels = {coco.getCatIds(catNms=[name])[0]: i for i, name in enumerate(classes)}
    samples = []
    for image in coco.dataset['images']:
        records = coco.loadAnns(coco.getAnnIds(imgIds=image['id'], iscrowd=False))
        boxes = np.array([record['bbox'] for record in records]).reshape(-1, 4)
        size = image['height'], image['width']
        masks = np.zeros((len(records), *size), np.uint8)
        for mask, record in zip(masks, records, strict=True):
            mask[:, shift:] = coco.annToMask(record)[:, : size[1] - shift]
        instances = {
            'bboxes': torch.from_numpy(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])),
            'labels': torch.tensor([labels[r['category_id']] for r in records], dtype=torch.long),
            'scores': torch.ones(len(records)),
            'masks': torch.from_numpy(masks),
        }
        samples.append({'img_id': image['id'], 'ori_shape': size, 'pred_instances': instances})
    return samples


@pytest.mark.parametrize('backend', ['pycocotools', 'faster-coco-eval'])
def test_coco_truth_has_ap_1_and_a_shift_costs_boundaries_more(backend, shared_dir, tmp_path):
    content = json.loads((shared_dir / 'data/coco_multi/instances_val2017.json').read_text())
    content['images'] = content['images'][:30]
    kept = {image['id'] for image in content['images']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in kept]
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(content))
    coco, classes = COCO(str(path)), CocoDataset.METAINFO['classes']
    metric = dict(type='mmpointrend.CocoBoundaryMetric', ann_file=str(path), backend=backend)
    figures = evaluate([metric], classes, coco_samples(coco, classes, 0))
    assert len(figures) == 18 and set(figures.values()) == {1.0}
    figures = evaluate([metric], classes, coco_samples(coco, classes, 2))
    assert figures['coco/bbox_mAP'] == 1
    assert 0.3 < figures['coco/boundary_mAP'] < figures['coco/segm_mAP'] < 0.9


def test_camvid_labels_moved_aside_lose_the_more_the_narrower_the_band(shared_dir):
    folder, classes = shared_dir / 'data/camvid/valannot', CamVidDataset.METAINFO['classes']
    files = sorted(folder.iterdir())[:10]
    metrics = [
        dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'], ignore_index=VOID),
        dict(type='mmpointrend.BoundaryIoUMetric', dilation_ratio=0.005, ignore_index=VOID),
        dict(type='mmpointrend.TrimapIoUMetric', widths=(1, 4, 16, 480), ignore_index=VOID),
    ]
    names = [f'mTrimapIoU_{r}px' for r in (1, 4, 16, 480)]
    before = None
    for shift in (0, 1, 4):
        samples = []
        for file in files:
            truth = torch.from_numpy(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)).long()
            maps = dict(gt_sem_seg=truth, pred_sem_seg=truth.roll(shift, 1))
            samples.append(SegDataSample(**{k: PixelData(data=m[None]) for k, m in maps.items()}))
        figures = evaluate(metrics, classes, samples)
        trimap = [figures[name] for name in names]
        assert trimap[-1] == pytest.approx(figures['mIoU'], abs=0.011)
        if before is None:
            assert trimap == [100] * 4 and figures['mBoundaryIoU'] == 100
        else:
            assert trimap == sorted(trimap) and trimap[0] < trimap[1]
            assert all(now < then for now, then in zip(trimap, before, strict=True))
            assert figures['mBoundaryIoU'] < figures['mIoU']
        before = trimap
