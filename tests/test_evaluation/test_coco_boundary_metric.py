# Copyright (c) The mmpointrend authors.
"""Boundary AP, against the original implementation's answer and against shapes of known IoU."""

import json

import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import coco_metric
from pycocotools import mask as mask_api

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation import CocoBoundaryMetric
from mmpointrend.evaluation.evaluate_coco import evaluate_coco
from mmpointrend.registry import METRICS

SIDE = 200  # diagonal 282.8: the boundary is 6 pixels wide


def rle(mask: np.ndarray) -> dict:
    """Compressed RLE that json can hold."""
    code = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': code['size'], 'counts': code['counts'].decode()}


def square(x: int, y: int, side: int) -> np.ndarray:
    """(SIDE, SIDE) mask of a square."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def write_truth(path, masks: list[np.ndarray], crowd: int = 0) -> str:
    """Writes a COCO file of one image and one class."""
    records = [
        {
            'id': i + 1, 'image_id': 7, 'category_id': 3, 'segmentation': rle(mask),
            'area': int(mask.sum()), 'bbox': [0, 0, 1, 1], 'iscrowd': crowd,
        }
        for i, mask in enumerate(masks)
    ]  # fmt: skip
    content = {
        'images': [{'id': 7, 'height': SIDE, 'width': SIDE, 'file_name': 'a.jpg'}],
        'categories': [{'id': 3, 'name': 'square'}],
        'annotations': records,
    }
    path.write_text(json.dumps(content))
    return str(path)


def sample(masks: list[np.ndarray]) -> dict:
    """What mmdet hands to a metric."""
    count = len(masks)
    return {
        'img_id': 7,
        'ori_shape': (SIDE, SIDE),
        'pred_instances': {
            'bboxes': torch.zeros(count, 4),
            'scores': torch.linspace(0.9, 0.5, count),
            'labels': torch.zeros(count, dtype=torch.long),
            'masks': torch.from_numpy(np.array(masks).reshape(-1, SIDE, SIDE)),
        },
    }


def evaluate(truth: str, masks: list[np.ndarray], **kwargs) -> dict[str, float]:
    """Runs the metric over one image."""
    metric = CocoBoundaryMetric(ann_file=truth, **{'metric': ['segm', 'boundary'], **kwargs})
    metric.dataset_meta = {'classes': ('square',)}
    metric.process({}, [sample(masks)])
    return metric.evaluate(1)


def test_original_boundary_ap(shared_dir):
    folder = shared_dir / 'fixtures' / 'coco_boundary'
    truth = json.loads((folder / 'gt_dataset.json').read_text())
    sizes = {image['id']: (image['height'], image['width']) for image in truth['images']}
    records = []
    for found in json.loads((folder / 'dt_dataset.json').read_text()):
        parts = mask_api.frPyObjects(found['segmentation'], *sizes[found['image_id']])
        code = mask_api.merge(parts)
        code['counts'] = code['counts'].decode()
        keys = ('image_id', 'category_id', 'score')
        records.append({**{key: found[key] for key in keys}, 'segmentation': code})
    stats = evaluate_coco(truth, records).stats
    assert stats[0] == pytest.approx(0.6947194719471946, abs=1e-12)
    assert stats[6] == pytest.approx(0.6667, abs=1e-4)  # recall of one detection an image
    wider = evaluate_coco(truth, records, dilation_ratio=0.5).stats
    masks = evaluate_coco(truth, records, 'segm').stats
    assert wider[0] == masks[0]  # a boundary as wide as the masks is the masks


def cocoapi_samples(folder) -> tuple[list[dict], tuple[str, ...]]:
    """The cocoapi fixture's results as mmdet's models give them, and the classes."""
    truth = json.loads((folder / 'instances_val2014_100.json').read_text())
    found = json.loads((folder / 'instances_val2014_fakesegm100_results.json').read_text())
    labels = {category['id']: i for i, category in enumerate(truth['categories'])}
    samples = []
    for image in truth['images']:
        records = [record for record in found if record['image_id'] == image['id']]
        instances = {
            # Boxes are of no account for masks: those of these records are none.
            'bboxes': torch.zeros(len(records), 4),
            'scores': torch.tensor([record['score'] for record in records], dtype=torch.float64),
            'labels': torch.tensor([labels[record['category_id']] for record in records]),
            'masks': [record['segmentation'] for record in records],
        }
        samples.append(
            {
                'img_id': image['id'],
                'ori_shape': (image['height'], image['width']),
                'pred_instances': instances,
            }
        )
    return samples, tuple(category['name'] for category in truth['categories'])


@pytest.mark.parametrize('backend', ['pycocotools', 'faster-coco-eval'])
def test_mask_ap_of_cocoapi_by_either_backend(backend, shared_dir, monkeypatch):
    evaluators = []

    class Watched(coco_metric.COCOeval):
        """pycocotools' evaluation, whose figures mmdet rounds."""

        def summarize(self):
            super().summarize()
            evaluators.append(self)

    monkeypatch.setattr(coco_metric, 'COCOeval', Watched)
    folder = shared_dir / 'fixtures' / 'cocoapi'
    samples, classes = cocoapi_samples(folder)
    metric = METRICS.build(
        dict(
            type='mmpointrend.CocoBoundaryMetric',
            ann_file=str(folder / 'instances_val2014_100.json'),
            metric='segm',
            backend=backend,
        )
    )
    metric.dataset_meta = {'classes': classes}
    metric.process({}, samples)
    figures = metric.evaluate(len(samples))
    exact = 0.31954527585764
    if backend == 'pycocotools':
        assert evaluators[0].stats[0] == pytest.approx(exact, abs=1e-12)
        assert figures['coco/segm_mAP'] == round(exact, 3)
    else:
        assert not evaluators
        assert figures['coco/segm_mAP'] == pytest.approx(exact, abs=1e-12)


def test_backends_agree_on_boxes_masks_and_sizes(tmp_path):
    squares = [square(5, 5, 20), square(40, 40, 60), square(90, 90, 100)]
    truth = write_truth(tmp_path / 'truth.json', squares)
    content = json.loads((tmp_path / 'truth.json').read_text())
    for record in content['annotations']:
        record['bbox'] = mask_api.toBbox(record['segmentation']).tolist()
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    found = sample([square(7, 5, 20), square(42, 44, 60), square(90, 90, 100), square(0, 0, 50)])
    found['pred_instances']['bboxes'] = torch.tensor(
        [[7, 5, 27, 25], [42, 44, 102, 104], [90, 90, 190, 190], [0, 0, 50, 50]]
    ).float()
    figures = []
    for backend in ('pycocotools', 'faster-coco-eval'):
        metric = CocoBoundaryMetric(ann_file=truth, backend=backend)
        metric.dataset_meta = {'classes': ('square',)}
        metric.process({}, [found])
        figures.append({name: round(value, 3) for name, value in metric.evaluate(1).items()})
    assert figures[0] == figures[1]
    assert len(figures[0]) == 18 and 0 < figures[0]['coco/bbox_mAP_s'] < 1


def test_backend_and_items_that_it_lacks_are_refused(tmp_path):
    truth = write_truth(tmp_path / 'truth.json', [square(50, 60, 80)])
    with pytest.raises(ConfigError, match=r"backend must be one of .*, but got 'cocoapi'"):
        CocoBoundaryMetric(ann_file=truth, backend='cocoapi')
    with pytest.raises(ConfigError, match=r'it has no AR@1000\.'):
        CocoBoundaryMetric(
            ann_file=truth, backend='faster-coco-eval', metric_items=['mAP', 'AR@1000']
        )


@pytest.mark.parametrize('backend', ['pycocotools', 'faster-coco-eval'])
@pytest.mark.parametrize('shift', [0, 1, 2, 3])
def test_ap_of_a_shifted_square_is_the_share_of_thresholds_it_reaches(tmp_path, shift, backend):
    truth = write_truth(tmp_path / 'truth.json', [square(50, 60, 80)])
    figures = evaluate(truth, [square(50 + shift, 60, 80)], backend=backend)
    ring = 80**2 - 68**2
    # The rings share two full sides less the shift, and 6 - shift columns of each upright side.
    common = 2 * 6 * (80 - shift) + 2 * max(0, 6 - shift) * 68
    iou = common / (2 * ring - common)
    thresholds = np.linspace(0.5, 0.95, 10)
    assert figures['coco/boundary_mAP'] == pytest.approx((iou >= thresholds).mean())
    mask_iou = (80 - shift) / (80 + shift)
    assert figures['coco/segm_mAP'] == pytest.approx((mask_iou >= thresholds).mean(), abs=1e-3)
    assert figures['coco/boundary_mAP_m'] == figures['coco/boundary_mAP']
    assert figures['coco/boundary_mAP_l'] == -1


def test_wider_ratio_classwise_and_items(tmp_path):
    truth = write_truth(tmp_path / 'truth.json', [square(50, 60, 80)])
    narrow, wide = (
        evaluate(truth, [square(52, 60, 80)], dilation_ratio=r, metric='boundary', classwise=True)
        for r in (0.01, 0.1)
    )
    assert narrow['coco/boundary_mAP'] < wide['coco/boundary_mAP']
    assert wide['coco/boundary_square_precision'] == wide['coco/boundary_mAP']
    assert not any('segm' in name for name in wide)
    some = evaluate(truth, [square(50, 60, 80)], metric_items=['mAP_50', 'AR@100'])
    assert some['coco/boundary_mAP_50'] == some['coco/boundary_AR@100'] == 1
    assert 'coco/boundary_mAP' not in some


def test_crowds_are_neither_found_nor_missed(tmp_path):
    truth = write_truth(tmp_path / 'truth.json', [square(50, 60, 80)], crowd=1)
    assert evaluate(truth, [square(60, 70, 30)])['coco/boundary_mAP'] == -1


def test_no_detection_at_all_is_zero(tmp_path):
    truth = write_truth(tmp_path / 'truth.json', [square(50, 60, 80)])
    assert evaluate(truth, [])['coco/boundary_mAP'] == 0
    faster = evaluate(truth, [], backend='faster-coco-eval')
    assert faster['coco/boundary_mAP'] == faster['coco/segm_mAP'] == 0


def test_predictions_without_masks_are_refused(tmp_path):
    metric = CocoBoundaryMetric(
        ann_file=write_truth(tmp_path / 'truth.json', [square(0, 0, 9)]), metric=['boundary']
    )
    metric.dataset_meta = {'classes': ('square',)}
    boxes = sample([square(0, 0, 9)])
    del boxes['pred_instances']['masks']
    metric.process({}, [boxes])
    with pytest.raises(ConfigError, match="metric 'boundary' needs masks"):
        metric.evaluate(1)
