# Copyright (c) The mmpointrend authors.
"""mmdet's own metrics under the checked runner: right figures, or a sentence before the first image."""

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.datasets.api_wrappers import COCOPanoptic
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.logging import MMLogger
from tiny_annotations import figures_of, perfect_samples, rectangles, write
from tiny_runs import write_config

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import check_label_order, check_metrics
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation import CocoBoundaryMetric

CLASSES = ('disc', 'box', 'ring')


def of_classes(classes):
    """A dataset's part in this."""
    return SimpleNamespace(metainfo=dict(classes=classes))


@pytest.fixture
def runner(tiny_data, tmp_path):
    """A runner that has built nothing yet."""
    cfg = Config.fromfile(write_config('instance', tmp_path, tiny_data, length=2, workers=0))
    cfg.experiment_name = tmp_path.name
    return CheckedRunner.from_cfg(cfg)


@pytest.mark.parametrize('first_id', [0, 1])
def test_ids_from_0(first_id, runner, tmp_path):
    content = rectangles(CLASSES, first_id=first_id)
    path = write(content, tmp_path / 'truth.json')
    settings = dict(type='mmdet.CocoMetric', ann_file=path, metric=['bbox', 'segm'])
    (metric,) = runner.build_evaluator(settings).metrics
    assert type(metric) is CocoMetric
    figures = figures_of(metric, perfect_samples(content, CLASSES), CLASSES)
    assert figures['bbox_mAP'] == figures['segm_mAP'] == 1


@pytest.mark.parametrize(
    ('change', 'is_refused'),
    [
        ({}, True),
        ({'prefix': 'other'}, False),
        ({'metric': 'bbox'}, False),
        ({'format_only': True, 'outfile_prefix': 'x'}, False),
    ],
)
def test_figures_of_one_name(change, is_refused, runner, tmp_path):
    path = write(rectangles(CLASSES), tmp_path / 'truth.json')
    one = dict(type='mmdet.CocoMetric', ann_file=path, metric='segm')
    two = dict(type='mmpointrend.CocoBoundaryMetric', ann_file=path, metric=['segm'])
    if not is_refused:
        assert len(runner.build_evaluator([one, {**two, **change}]).metrics) == 2
        return
    message = (
        r"^the metrics CocoMetric and CocoBoundaryMetric .* figures of 'segm' under the prefix "
        r"'coco': set prefix="
    )
    with pytest.raises(ConfigError, match=message):
        runner.build_evaluator([one, two])


def test_figures_of_one_name_by_others(tmp_path):
    class Own(CocoMetric):
        def compute_metrics(self, results):
            return {'own': len(results)}

    path = write(rectangles(CLASSES), tmp_path / 'truth.json')
    check_metrics([CocoMetric(path, metric='bbox'), Own(path, metric='bbox')], [])


def test_ids_twice(runner, tmp_path):
    content = rectangles(CLASSES)
    content['annotations'][3]['id'] = 1
    path = write(content, tmp_path / 'truth.json')
    with pytest.raises(InputError, match=rf'2 entries of annotations in .* {path} have the id 1: '):
        runner.build_evaluator([dict(type='mmdet.CocoMetric', ann_file=path)])


@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], ('ring', 'disc')])
def test_labels_follow_names(classes, tmp_path):
    content = rectangles(CLASSES)
    metric = CocoMetric(ann_file=write(content, tmp_path / 'truth.json'))
    check_label_order([metric], of_classes(classes))
    assert figures_of(metric, perfect_samples(content, classes), classes)['bbox_mAP'] == 1
    with pytest.raises(ConfigError, match='lacks 1 of the 2 classes'):
        check_label_order([metric], of_classes(('box', 'blob')))


def test_ours_say_nothing_of_an_order_that_the_dataset_follows(tmp_path, monkeypatch):
    path = write(rectangles(CLASSES), tmp_path / 'truth.json')
    warnings: list = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', warnings.append)
    monkeypatch.setattr(
        MMLogger.get_current_instance(), 'log', lambda _, text: warnings.append(text)
    )
    classes = CLASSES[::-1]
    for checked in (False, True):
        metric = CocoBoundaryMetric(path, metric='bbox')
        if checked:
            check_label_order([metric], of_classes(classes))
        samples = perfect_samples(rectangles(CLASSES), classes)
        assert figures_of(metric, samples, classes)['bbox_mAP'] == 1
        assert len([text for text in warnings if 'another order' in text]) == 1


def test_figures_by_the_names_of_others(tmp_path):
    path = write(rectangles(CLASSES), tmp_path / 'truth.json')
    check_label_order([CocoMetric(ann_file=path, classwise=True)], of_classes(CLASSES[::-1]))
    with pytest.raises(ConfigError, match=r"set type='mmpointrend\.CocoBoundaryMetric'"):
        check_label_order([CocoMetric(ann_file=path, classwise=True)], of_classes(CLASSES))


def test_val_loop_of_a_run_with_another_order(runner, tiny_data):
    settings = runner.cfg.val_evaluator
    settings.type, settings.metric = 'mmdet.CocoMetric', 'bbox'
    runner._val_evaluator = settings
    loop = runner.build_val_loop(runner._val_loop)
    (metric,) = loop.evaluator.metrics
    names = {c['id']: c['name'] for c in metric._coco_api.dataset['categories']}
    assert [names[number] for number in metric.cat_ids] == list(
        loop.dataloader.dataset.metainfo['classes']
    )


def test_lvis(runner, tmp_path):
    pytest.importorskip('lvis')
    content = rectangles(CLASSES, neg_category_ids=[], not_exhaustive_category_ids=[])
    path = write(content, tmp_path / 'lvis.json')
    with pytest.raises(
        ConfigError, match=r"LVISMetric needs the package lvis.*'mmpointrend\.LVISMetric'"
    ):
        runner.build_evaluator(dict(type='mmdet.LVISMetric', ann_file=path))
    ours = dict(type='mmpointrend.LVISMetric', ann_file=path)
    (metric,) = runner.build_evaluator(ours).metrics
    figures = figures_of(metric, perfect_samples(content, CLASSES), CLASSES)
    assert figures['segm_AP'] == 1


def test_panoptic_annotations_pass(tmp_path):
    segment = dict(id=0, category_id=1, area=4, bbox=[0, 0, 2, 2], iscrowd=0)
    content = dict(
        images=[dict(id=1, file_name='a.jpg', height=4, width=4)],
        annotations=[dict(image_id=1, file_name='a.png', segments_info=[segment])],
        categories=[dict(id=1, name='a', isthing=1)],
    )
    metric = CocoMetric()
    metric._coco_api = COCOPanoptic(write(content, tmp_path / 'p.json'))
    before = copy.deepcopy(metric._coco_api.dataset)
    check_metrics([metric], [{}])
    check_label_order([metric], of_classes(('a',)))
    assert metric._coco_api.dataset == before


class Gadget:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('key', ['ann_file', 'proposal_file'])
def test_pickles_of_a_dataset(key, tmp_path):
    """Of a dataset that reads what mmengine can, as mmdet's are that have no format of their own."""
    canary = tmp_path / 'code_ran'
    (tmp_path / 'list.pkl').write_bytes(pickle.dumps(Gadget(canary)))
    content = dict(metainfo=dict(classes=['a']), data_list=[dict(img_path='a.png')])
    dataset = dict(
        type='mmdet.BaseDetDataset',
        data_root=str(tmp_path),
        ann_file=Path(write(content, tmp_path / 'list.json')).name,
        pipeline=[],
    )
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    assert len(CheckedRunner.build_dataloader(dict(loader, dataset=dataset)).dataset) == 1
    dataset[key] = 'list.pkl'
    with pytest.raises(InputError, match=rf'BaseDetDataset: {key}=list\.pkl is a pickle'):
        CheckedRunner.build_dataloader(dict(loader, dataset=dataset))
    assert not canary.exists()


def test_pickled_class_weights(runner, tmp_path):
    canary = tmp_path / 'code_ran'
    (tmp_path / 'weights.pkl').write_bytes(pickle.dumps(Gadget(canary)))
    loss = dict(type='mmseg.CrossEntropyLoss', class_weight=str(tmp_path / 'weights.pkl'))
    with pytest.raises(
        InputError, match=r'CrossEntropyLoss: class_weight=.*weights\.pkl is a pickle'
    ):
        runner.build_model(loss)
    assert not canary.exists()
