# Copyright (c) The mmpointrend authors.
"""Cityscapes AP, against cityscapesscripts' own reading of files, and by hand."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import cityscapes_metric as mmdet_metric
from mmengine.evaluator import Evaluator

from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation import CityscapesMetric
from mmpointrend.registry import METRICS

CSEval = pytest.importorskip('cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling')
CLASSES = ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')
SHAPE = 96, 160
CAR, PERSON, ROAD, VOID = 26, 24, 7, 4
# A false positive before the only true one: precision 0 and 1/2 at recall 0 and 1. Cityscapes gives
# each point half of the recall between its two neighbours.
SECOND = 0.25


def write_truth(folder, name: str, ids: np.ndarray) -> dict:
    """Writes instance ids of an image of the city Ulm; returns a data sample without predictions."""
    path = folder / 'gtFine' / 'val' / 'ulm' / f'{name}_gtFine_instanceIds.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), ids.astype(np.uint16))
    return {'img_path': f'anywhere/leftImg8bit/val/ulm/{name}_leftImg8bit.png'}


def with_predictions(sample: dict, *found: tuple[str, np.ndarray, float]) -> dict:
    """The sample with masks of classes and scores."""
    return sample | {
        'pred_instances': {
            'labels': torch.tensor([CLASSES.index(name) for name, _, _ in found], dtype=torch.long),
            'scores': torch.tensor([score for _, _, score in found]),
            'masks': torch.from_numpy(np.array([m for _, m, _ in found]).reshape(-1, *SHAPE)),
        }
    }


def rectangle(x: int, y: int, w: int, h: int) -> np.ndarray:
    """Bool mask of a rectangle."""
    mask = np.zeros(SHAPE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def road(**instances) -> np.ndarray:
    """Instance ids of a road; keys are i with the id, values their masks."""
    ids = np.full(SHAPE, ROAD)
    for key, mask in instances.items():
        ids[mask] = int(key.removeprefix('i'))
    return ids


def evaluate(folder, samples: list[dict], **kwargs) -> dict[str, float]:
    """Runs the metric as mmengine's loops do, from the registry."""
    config = dict(type='mmpointrend.CityscapesMetric', seg_prefix=str(folder / 'gtFine' / 'val'))
    evaluator = Evaluator([METRICS.build(config | kwargs)])
    evaluator.dataset_meta = {'classes': CLASSES}
    for sample in samples:
        evaluator.process(data_samples=[sample], data_batch=None)
    return evaluator.evaluate(len(samples))


def random_samples(folder, count: int) -> list[dict]:
    """Objects, groups and void, predicted with errors, twice, or where nothing is."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        ids = np.full(SHAPE, ROAD)
        ids[:8], ids[60:70, 100:] = 1, VOID
        found = []
        for number in range(8):
            x, y, w, h = rng.integers([0, 0, 6, 6], [130, 80, 50, 40])
            label = int(rng.choice([CAR, PERSON, 33]))
            ids[rectangle(x, y, w, h)] = label if number == 7 else 1000 * label + number
            name = mmdet_metric.CSLabels.id2label[label].name
            for _ in range(rng.integers(0, 3)):
                dx, dy, dw, dh = rng.integers(-3, 4, 4)
                moved = rectangle(max(x + dx, 0), max(y + dy, 0), w + dw, h + dh)
                found.append((name, moved, float(rng.random())))
        found.append(('car', rectangle(*rng.integers(5, 60, 4)), 0.7))
        found.append(('person', np.zeros(SHAPE, bool), 0.9))
        sample = write_truth(folder, f'ulm_{index:06d}_000019', ids)
        samples.append(with_predictions(sample, *found))
    return samples


def cityscapes_own(folder, samples: list[dict], monkeypatch) -> dict:
    """What cityscapesscripts says of files with the same masks."""
    # What it wants of older numpy: a function that is gone, and counts that json can write.
    monkeypatch.setattr(np, 'in1d', np.isin, raising=False)
    monkeypatch.setattr(CSEval, 'writeDict2JSON', lambda content, path: None)
    monkeypatch.chdir(folder)
    infos, truths = [], []
    for sample in samples:
        stem = sample['img_path'].rpartition('/')[2].removesuffix('_leftImg8bit.png')
        found = sample['pred_instances']
        lines = []
        for i, (label, score) in enumerate(zip(found['labels'], found['scores'], strict=True)):
            cv2.imwrite(f'{stem}_{i}.png', 255 * found['masks'][i].numpy().astype(np.uint8))
            number = mmdet_metric.CSLabels.name2label[CLASSES[label]].id
            lines.append(f'{stem}_{i}.png {number} {float(score)}\n')
        (folder / f'{stem}.txt').write_text(''.join(lines))
        infos.append(str(folder / f'{stem}.txt'))
        truths.append(str(folder / 'gtFine/val/ulm' / f'{stem}_gtFine_instanceIds.png'))
    settings = dict(
        predictionPath=str(folder), gtInstancesFile='gt.json', JSONOutput=False, quiet=True
    )
    for key, value in settings.items():
        monkeypatch.setattr(CSEval.args, key, value)
    return CSEval.evaluateImgLists(infos, truths, CSEval.args)['averages']


def test_equals_cityscapesscripts_on_files(tmp_path, monkeypatch):
    samples = random_samples(tmp_path, 6)
    figures = evaluate(tmp_path, samples)
    expected = cityscapes_own(tmp_path, samples, monkeypatch)
    assert 0.1 < expected['allAp'] < expected['allAp50%'] < 1
    assert figures['cityscapes/mAP'] == pytest.approx(expected['allAp'], abs=1e-12)
    assert figures['cityscapes/AP@50'] == pytest.approx(expected['allAp50%'], abs=1e-12)
    for name in CLASSES:
        own = expected['classes'][name]['ap']
        assert figures[f'cityscapes/{name}_mAP'] == pytest.approx(own, abs=1e-12, nan_ok=True)
    assert np.isnan(figures['cityscapes/bus_mAP'])  # there is none


def test_ranks_send_what_can_be_sent(tmp_path):
    samples = random_samples(tmp_path, 4)
    whole = evaluate(tmp_path, samples)
    ranks = []
    for part in (samples[:1], samples[1:]):
        metric = CityscapesMetric(seg_prefix=str(tmp_path / 'gtFine' / 'val'))
        metric.dataset_meta = {'classes': CLASSES}
        metric.process({}, part)
        ranks += pickle.loads(pickle.dumps(metric.results))
    gathered = metric.compute_metrics(ranks)
    assert whole == {
        f'cityscapes/{name}': pytest.approx(v, nan_ok=True) for name, v in gathered.items()
    }


@pytest.mark.parametrize(
    ('width', 'passed'), [(40, 10), (29, 5), (15, 0)]
)  # IoU 1, 0.725, 0.375 of ten thresholds from 0.5
def test_ap_is_the_share_of_thresholds_that_a_mask_reaches(width, passed, tmp_path):
    sample = write_truth(tmp_path, 'ulm_000000_000019', road(i26000=rectangle(20, 20, 40, 30)))
    found = ('car', rectangle(20, 20, width, 30), 0.6)
    figures = evaluate(tmp_path, [with_predictions(sample, found)], prefix='mine')
    assert figures['mine/mAP'] == figures['mine/car_mAP'] == pytest.approx(passed / 10)
    assert figures['mine/AP@50'] == (passed > 0)


def test_groups_void_and_crumbs_are_neither_found_nor_missed(tmp_path):
    truth = road(
        i26000=rectangle(0, 0, 30, 30),
        i26=rectangle(60, 0, 40, 40),
        i4=rectangle(60, 50, 40, 40),
        i26001=rectangle(120, 50, 9, 11),  # 99 pixels
    )
    sample = write_truth(tmp_path, 'ulm_000000_000019', truth)
    found = [
        ('car', rectangle(0, 0, 30, 30), 0.1),
        ('car', rectangle(62, 2, 30, 30), 0.9),
        ('car', rectangle(62, 52, 30, 30), 0.9),
    ]
    assert evaluate(tmp_path, [with_predictions(sample, *found)])['cityscapes/mAP'] == 1
    found[1] = ('person', *found[1][1:])  # a person on a group of cars is wrong, but there is none
    assert evaluate(tmp_path, [with_predictions(sample, *found)])['cityscapes/mAP'] == 1
    found[2] = ('car', rectangle(20, 60, 30, 30), 0.9)  # on the road
    assert evaluate(tmp_path, [with_predictions(sample, *found)])['cityscapes/mAP'] == SECOND


def test_images_without_predictions_or_without_truth(tmp_path):
    empty = with_predictions(write_truth(tmp_path, 'ulm_000000_000019', road()))
    figures = evaluate(tmp_path, [empty])
    assert all(np.isnan(value) for value in figures.values()) and len(figures) == 10
    car = rectangle(0, 0, 30, 30)
    missed = write_truth(tmp_path, 'ulm_000001_000019', road(i26000=car))
    assert evaluate(tmp_path, [empty, with_predictions(missed)])['cityscapes/mAP'] == 0
    wrong = with_predictions(empty, ('car', car, 0.9))
    right = with_predictions(missed, ('car', car, 0.5))
    assert evaluate(tmp_path, [wrong, right])['cityscapes/mAP'] == SECOND


def test_a_class_whose_predictions_are_all_ignored(tmp_path):
    """cityscapesscripts raises IndexError on it."""
    truth = road(i26000=rectangle(0, 0, 30, 30), i4=rectangle(60, 50, 40, 40))
    sample = write_truth(tmp_path, 'ulm_000000_000019', truth)
    found = ('car', rectangle(62, 52, 30, 30), 0.9)
    assert evaluate(tmp_path, [with_predictions(sample, found)])['cityscapes/mAP'] == 0


def test_files_for_the_test_server(tmp_path):
    mask = rectangle(0, 0, 30, 30)
    sample = {'img_path': 'leftImg8bit/test/ulm/ulm_000000_000019_leftImg8bit.png'}
    found = with_predictions(sample, ('car', mask, 0.5))
    out = tmp_path / 'out'
    assert evaluate(tmp_path, [found], format_only=True, outfile_prefix=str(out)) == {}
    (info,) = out.rglob('*.txt')
    name, number, score = info.read_text().split()
    assert (number, score) == ('26', '0.5')
    np.testing.assert_array_equal(cv2.imread(str(info.parent / name), 0) != 0, mask)


def test_what_is_wrong_is_said(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match='needs seg_prefix where format_only=False'):
        CityscapesMetric()
    with pytest.raises(ConfigError, match='needs outfile_prefix where format_only=True'):
        CityscapesMetric(format_only=True)
    sample = write_truth(tmp_path, 'ulm_000000_000019', road())
    small = with_predictions(sample, ('car', rectangle(0, 0, 3, 3), 0.5))
    small['pred_instances']['masks'] = small['pred_instances']['masks'][:, 1:]
    with pytest.raises(ConfigError, match=r'are \(95, 160\), its ground truth \(96, 160\)'):
        evaluate(tmp_path, [small])
    elsewhere = with_predictions({'img_path': 'val/bonn/bonn_0_0_leftImg8bit.png'})
    with pytest.raises(
        InputError, match=r'bonn/bonn_0_0_gtFine_instanceIds\.png .* does not exist'
    ):
        evaluate(tmp_path, [elsewhere])
    truth = tmp_path / 'gtFine' / 'val' / 'bonn' / 'bonn_0_0_gtFine_instanceIds.png'
    truth.parent.mkdir()
    truth.write_text('no image')
    with pytest.raises(InputError, match=f'{truth} cannot be read'):
        evaluate(tmp_path, [elsewhere])
    monkeypatch.setattr(mmdet_metric, 'HAS_CITYSCAPESAPI', False)
    with pytest.raises(ConfigError, match=r'pip install "mmpointrend\[cityscapes\]"'):
        CityscapesMetric(seg_prefix='gtFine/val')


def test_classes_of_other_data(tmp_path):
    metric = CityscapesMetric(seg_prefix=str(tmp_path))
    metric.dataset_meta = {'classes': ('car', 'tree', 'sky')}
    with pytest.raises(ConfigError, match=r'but the dataset has the classes \(tree, sky\)'):
        metric.process({}, [])


def test_the_truth_lies_in_its_folder(tmp_path):
    metric = CityscapesMetric(seg_prefix=str(tmp_path / 'val'))
    metric.dataset_meta = {'classes': CLASSES}
    (tmp_path / 'b_gtFine_instanceIds.png').write_bytes(b'')
    with pytest.raises(InputError, match=r"'\.\./b_gtFine_instanceIds\.png' leads out"):
        metric.process({}, [dict(img_path='images/../b_leftImg8bit.png')])
