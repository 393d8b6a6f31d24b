# Copyright (c) The mmpointrend authors.
"""AP*, against LVIS's own evaluation, and by hand where LVIS's rules differ from COCO's."""

import json

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from pycocotools import mask as mask_api

from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation import APStarMetric
from mmpointrend.evaluation.cocofy import COCO_CATEGORIES, cocofy
from mmpointrend.evaluation.federated import most_confident
from mmpointrend.registry import METRICS

CLASSES = CocoDataset.METAINFO['classes']
SIDE = 200
ITEMS = {'': 'AP', '_50': 'AP50', '_75': 'AP75', '_s': 'APs', '_m': 'APm', '_l': 'APl'}


def evaluate(path, samples: list[dict], **kwargs) -> dict[str, float]:
    """Runs the metric as mmengine's loops do, from the registry."""
    metric = dict(type='mmpointrend.APStarMetric', ann_file=str(path), **kwargs)
    evaluator = Evaluator([METRICS.build(metric)])
    evaluator.dataset_meta = {'classes': CLASSES}
    evaluator.process(data_samples=samples, data_batch=None)
    return evaluator.evaluate(len(samples))


def sample(image: dict, masks: list, labels: list[int], scores: list[float]) -> dict:
    """What mmdet hands to a metric; the boxes are wrong, for they must not count."""
    return {
        'img_id': image['id'],
        'ori_shape': (image['height'], image['width']),
        'pred_instances': {
            'bboxes': torch.tensor([[0.0, 0, 2, 2]]).expand(len(labels), 4),
            'scores': torch.tensor(scores, dtype=torch.float64),
            'labels': torch.tensor(labels, dtype=torch.long),
            'masks': masks,
        },
    }


def noisy_predictions(content: dict, count: int) -> list[dict]:
    """LVIS's own masks moved about, some in other categories, ``count`` in an image."""
    rng = np.random.default_rng(0)
    own_ids = {number: i for i, number in enumerate(COCO_CATEGORIES[name][0] for name in CLASSES)}
    samples = []
    for image in content['images']:
        height, width = image['height'], image['width']
        records = [a for a in content['annotations'] if a['image_id'] == image['id']]
        others = [
            own_ids[number]
            for key in ('neg_category_ids', 'not_exhaustive_category_ids')
            for number in image[key]
        ]
        masks, labels = [], []
        for _ in range(count if records else 2):
            if records:
                record = records[rng.integers(len(records))]
                parts = mask_api.frPyObjects(record['segmentation'], height, width)
                mask = np.roll(
                    mask_api.decode(mask_api.merge(parts)), rng.integers(0, 6, 2), (0, 1)
                )
                label = own_ids[record['category_id']]
            else:
                mask, label = np.zeros((height, width), np.uint8), 0
                mask[:50, :60] = 1
            if rng.random() < 0.3:
                label = int(rng.choice(others)) if others else int(rng.integers(80))
            masks.append(mask_api.encode(np.asfortranarray(mask)))
            labels.append(label)
        samples.append(sample(image, masks, labels, rng.random(len(labels)).round(2).tolist()))
    return samples


def lvis_own(content: dict, samples: list[dict], monkeypatch) -> dict[str, float]:
    """Figures of the ``lvis`` package."""
    monkeypatch.setattr(np, 'float', float, raising=False)  # which it wants of older numpy
    lvis = pytest.importorskip('lvis')
    truth = lvis.LVIS.__new__(lvis.LVIS)
    truth.dataset, truth.logger = json.loads(json.dumps(content)), lvis.lvis.logging.getLogger()
    truth._create_index()
    records = [
        dict(
            image_id=s['img_id'],
            category_id=COCO_CATEGORIES[CLASSES[label]][0],
            score=score,
            segmentation=mask,
        )
        for s in samples
        for label, score, mask in zip(
            *(s['pred_instances'][key].tolist() for key in ('labels', 'scores')),
            s['pred_instances']['masks'],
            strict=True,
        )
    ]
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, records), 'segm')
    evaluation.run()
    return evaluation.get_results()


def test_equals_lvis_own_evaluation(shared_dir, tmp_path, monkeypatch):
    path = shared_dir / 'fixtures' / 'lvis' / 'lvis_val_100.json'
    content = cocofy(json.loads(path.read_text()))
    # One image gets more than 300 detections.
    content['images'] = content['images'][:25]
    kept = {image['id'] for image in content['images']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in kept]
    samples = noisy_predictions(content, 12)
    samples[0] = noisy_predictions(dict(content, images=content['images'][:1]), 330)[0]
    expected = lvis_own(content, samples, monkeypatch)
    figures = evaluate(path, samples)  # LVIS's own file, cocofied by the metric
    assert 0.05 < expected['AP'] < 0.9 and min(expected[name] for name in ITEMS.values()) > 0
    for item, name in ITEMS.items():
        assert figures[f'ap_star/segm_mAP{item}'] == pytest.approx(expected[name], abs=1e-12)
    (tmp_path / 'cocofied.json').write_text(json.dumps(content))
    assert evaluate(tmp_path / 'cocofied.json', samples) == figures


def square(x: int, y: int, side: int) -> np.ndarray:
    """(SIDE, SIDE) mask of a square."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y : y + side, x : x + side] = 1
    return mask


def rle(mask: np.ndarray) -> dict:
    """Compressed RLE that json can hold."""
    code = mask_api.encode(np.asfortranarray(mask))
    return {'size': code['size'], 'counts': code['counts'].decode()}


def write_lvis(path, negative=(), inexhaustive=(), folder='val2017', with_name=True):
    """LVIS with a cat of 50 x 50 pixels in one image; a dog and a toothbrush exist."""
    image = dict(
        id=7, height=SIDE, width=SIDE, coco_url=f'http://host/{folder}/7.jpg',
        neg_category_ids=list(negative), not_exhaustive_category_ids=list(inexhaustive),
    )  # fmt: skip
    content = dict(
        images=[image | (dict(file_name='7.jpg') if with_name else {})],
        categories=[
            dict(id=i, name='lvis', synset=f'{name}.n.01', frequency='f')
            for i, name in enumerate(['cat', 'dog', 'toothbrush', 'sofa'], start=1)
        ],
        annotations=[
            dict(id=1, image_id=7, category_id=1, area=2500, bbox=[20, 20, 50, 50],
                 segmentation=rle(square(20, 20, 50))),
        ],
    )  # fmt: skip
    path.write_text(json.dumps(content))
    return image


CAT, DOG, TOOTHBRUSH, HOT_DOG = (
    CLASSES.index(name) for name in ('cat', 'dog', 'toothbrush', 'hot dog')
)
HIT, MISS = square(20, 20, 50), square(120, 120, 60)


@pytest.mark.parametrize(
    ('options', 'miss', 'expected'),
    [
        ({}, CAT, 0.5),  # a wrong cat before the right one
        ({}, DOG, 1.0),  # neither annotated nor negative: dropped
        ({}, HOT_DOG, 1.0),  # LVIS v0.5 has none
        ({'inexhaustive': [1]}, CAT, 1.0),  # other cats may be there: ignored
        ({'inexhaustive': [2]}, CAT, 0.5),
    ],
)
def test_federated_rules(options, miss, expected, tmp_path):
    image = write_lvis(tmp_path / 'lvis.json', **options)
    found = sample(image, [rle(HIT), rle(MISS)], [CAT, miss], [0.5, 0.9])
    figures = evaluate(tmp_path / 'lvis.json', [found])
    assert figures['ap_star/segm_mAP'] == pytest.approx(expected, abs=1e-6)


def test_a_negative_category_counts_where_another_image_has_it(tmp_path):
    path = tmp_path / 'lvis.json'
    image = write_lvis(path, negative=[2])
    content = json.loads(path.read_text())
    other = dict(image, id=8, neg_category_ids=[], file_name='8.jpg')
    content['images'].append(other)
    content['annotations'].append(dict(content['annotations'][0], id=2, image_id=8, category_id=2))
    path.write_text(json.dumps(content))
    samples = [
        sample(image, [rle(HIT), rle(MISS)], [CAT, DOG], [0.5, 0.9]),
        sample(other, [rle(HIT)], [DOG], [0.5]),
    ]
    figures = evaluate(path, samples, classwise=True)
    assert figures['ap_star/segm_cat_precision'] == pytest.approx(1)
    assert figures['ap_star/segm_dog_precision'] == pytest.approx(0.5)


def test_labels_are_cocos_own_ids_not_the_order_in_the_file(tmp_path):
    # The toothbrush is the third category of the file, COCO's 80th class, its id is 90.
    image = write_lvis(tmp_path / 'lvis.json')
    content = json.loads((tmp_path / 'lvis.json').read_text())
    content['annotations'][0]['category_id'] = 3
    (tmp_path / 'lvis.json').write_text(json.dumps(content))
    figures = evaluate(tmp_path / 'lvis.json', [sample(image, [rle(HIT)], [TOOTHBRUSH], [0.5])])
    assert figures['ap_star/segm_mAP'] == pytest.approx(1)
    # 50 x 50: medium by its mask. By the box, 2 x 2, the detection would be small.
    assert figures['ap_star/segm_mAP_m'] == pytest.approx(1)
    assert figures['ap_star/segm_mAP_s'] == -1


@pytest.mark.parametrize(('others', 'expected'), [(299, 1.0), (300, 0.0)])
def test_300_of_an_image_of_whatever_category(others, expected, tmp_path, monkeypatch):
    image = write_lvis(tmp_path / 'lvis.json')
    found = sample(
        image, [rle(HIT)] + [rle(MISS)] * others, [CAT] + [DOG] * others, [0.1] + [0.9] * others
    )
    figures = evaluate(tmp_path / 'lvis.json', [found])
    assert figures['ap_star/segm_mAP'] == pytest.approx(expected)
    content = cocofy(json.loads((tmp_path / 'lvis.json').read_text()))
    assert lvis_own(content, [found], monkeypatch)['AP'] == pytest.approx(expected)


def test_of_equal_scores_the_first_are_kept():
    records = [dict(image_id=i % 2, score=0.5 + (i == 5), id=i) for i in range(8)]
    assert [r['id'] for r in most_confident(records, 2)] == [0, 2, 5, 1]


def test_no_detection_and_no_ground_truth(tmp_path):
    image = write_lvis(tmp_path / 'lvis.json')
    nothing = sample(image, [], [], [])
    assert evaluate(tmp_path / 'lvis.json', [nothing])['ap_star/segm_mAP'] == 0
    content = json.loads((tmp_path / 'lvis.json').read_text())
    content['annotations'] = []
    (tmp_path / 'lvis.json').write_text(json.dumps(content))
    for found in (nothing, sample(image, [rle(HIT)], [CAT], [0.5])):
        assert evaluate(tmp_path / 'lvis.json', [found])['ap_star/segm_mAP'] == -1


def test_v1_is_called_so_and_a_prefix_wins(tmp_path):
    image = write_lvis(tmp_path / 'lvis.json', with_name=False)
    found = [sample(image, [rle(HIT)], [CAT], [0.5])]
    both = evaluate(tmp_path / 'lvis.json', found, metric=['segm', 'boundary'])
    assert both['ap_star_v1/segm_mAP'] == pytest.approx(both['ap_star_v1/boundary_mAP'])
    named = evaluate(tmp_path / 'lvis.json', found, prefix='mine', metric_items=['mAP_50'])
    assert named == {'mine/segm_mAP_50': pytest.approx(1)}


def test_images_that_were_not_tested_do_not_count(shared_dir):
    path = shared_dir / 'fixtures' / 'lvis' / 'lvis_val_100.json'
    content = cocofy(json.loads(path.read_text()))
    image = next(i for i in content['images'] if i['id'] == content['annotations'][0]['image_id'])
    own = {COCO_CATEGORIES[name][0]: label for label, name in enumerate(CLASSES)}
    records = [a for a in content['annotations'] if a['image_id'] == image['id']]
    size = image['height'], image['width']
    masks = [mask_api.merge(mask_api.frPyObjects(a['segmentation'], *size)) for a in records]
    labels = [own[record['category_id']] for record in records]
    elsewhere = sample(dict(image, id=-1), masks, labels, [0.5] * len(masks))  # not in LVIS
    figures = evaluate(path, [sample(image, masks, labels, [0.5] * len(masks)), elsewhere])
    assert figures['ap_star/segm_mAP'] == pytest.approx(1)


def test_the_evaluators_of_a_coco_config(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(
        "_base_ = ['mmpointrend::instance/pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco.py',\n"
        "          'mmpointrend::_base_/evaluators/ap-star.py']\n"
        'test_evaluator = _base_.ap_star_evaluator\n'
    )
    coco, star = Config.fromfile(child).test_evaluator
    assert coco.pop('ann_file') == 'data/coco/annotations/instances_val2017.json'
    assert METRICS.build(coco).metrics == ['bbox', 'segm']
    write_lvis(tmp_path / 'lvis.json')
    assert isinstance(
        METRICS.build({**star, 'ann_file': str(tmp_path / 'lvis.json')}), APStarMetric
    )


def test_what_is_wrong_is_said(tmp_path):
    path = tmp_path / 'lvis.json'
    image = write_lvis(path)
    with pytest.raises(ConfigError, match=r"metric of AP\* are some of .*, but got \['bbox'\]"):
        APStarMetric(ann_file=str(path), metric='bbox')
    with pytest.raises(ConfigError, match=r"metric_items of AP\* .* but got \['AR@100'\]"):
        APStarMetric(ann_file=str(path), metric_items=['AR@100'])
    with pytest.raises(ConfigError, match='none of the tested images is annotated'):
        evaluate(path, [sample(dict(image, id=8), [], [], [])])
    metric = APStarMetric(ann_file=str(path))
    metric.dataset_meta = {'classes': ('cat', 'blob')}
    metric.process({}, [sample(image, [], [], [])])
    with pytest.raises(ConfigError, match='but the dataset has blob'):
        metric.evaluate(1)
    path.write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError, match=r'lvis\.json of AP\*: this is no LVIS file'):
        APStarMetric(ann_file=str(path))
    path.write_text('{"images": [')
    for file in (path, tmp_path / 'lost.json', tmp_path / 'lvis.txt'):
        with pytest.raises(InputError, match=rf'the annotations {file} of AP\*: '):
            APStarMetric(ann_file=str(file))
