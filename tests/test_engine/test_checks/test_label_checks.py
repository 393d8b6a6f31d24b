# Copyright (c) The mmpointrend authors.
"""Labels follow the names of classes, or the dataset or checkpoint is refused."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from tiny_loaders import build, loader_config
from tiny_runs import write_config

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import (
    check_checkpoint_classes,
    check_class_counts,
    check_same_classes,
)
from mmpointrend.engine.checks.names import complaint_about_classes, only_order_differs
from mmpointrend.errors import CheckpointError, ConfigError, InputError


@pytest.fixture
def told(monkeypatch):
    """Warnings of the checks."""
    lines = []
    for module in ('coco', 'classes'):
        monkeypatch.setattr(
            f'mmpointrend.engine.checks.{module}.print_log',
            lambda line, logger, level: lines.append(line) or level == logging.WARNING,
        )
    return lines


def change_categories(data, change):
    """Replace the categories of the tiny dataset: 1 is disc, 2 is box."""
    path = data / 'annotations.json'
    content = json.loads(path.read_text())
    content['categories'] = change(content['categories'])
    path.write_text(json.dumps(content))


def labels_by_category(dataset, data):
    """The labels that the annotations of each category get."""
    content = json.loads((data / 'annotations.json').read_text())
    category_of = {
        (a['image_id'], *a['bbox'][:2]): a['category_id'] for a in content['annotations']
    }
    found = {}
    for index in range(len(dataset)):
        image = dataset.get_data_info(index)
        for instance in image['instances']:
            category = category_of[(image['img_id'], *instance['bbox'][:2])]
            found.setdefault(category, set()).add(instance['bbox_label'])
    return found


class TestOrderOfTheFile:
    def test_labels_follow_names(self, data, tmp_path, told):
        change_categories(data, lambda categories: categories[::-1])
        dataset = build('instance', data, tmp_path).dataset
        assert labels_by_category(dataset, data) == {1: {0}, 2: {1}}
        assert dataset.cat_ids == [1, 2]
        assert dataset.cat2label == {1: 0, 2: 1}
        (line,) = told
        assert 'lists its categories in another order than metainfo.classes, ' in line
        assert '(box, disc) and (disc, box): labels follow metainfo.classes here' in line

    def test_classes_in_another_order(self, data, tmp_path, told):
        dataset = build('instance', data, tmp_path, metainfo=dict(classes=('box', 'disc'))).dataset
        assert labels_by_category(dataset, data) == {1: {1}, 2: {0}}
        assert len(told) == 1

    def test_categories_that_are_not_wanted_between(self, data, tmp_path, told):
        change_categories(
            data, lambda categories: [dict(id=9, name='a'), *categories, dict(id=0, name='z')]
        )
        dataset = build('instance', data, tmp_path).dataset
        assert labels_by_category(dataset, data) == {1: {0}, 2: {1}}
        assert not told

    def test_wrapped_and_concatenated_datasets(self, data, tmp_path):
        change_categories(data, lambda categories: categories[::-1])
        config = loader_config('instance', data, tmp_path)
        part = config.dataset
        config.dataset = dict(
            type='ConcatDataset', datasets=[dict(type='RepeatDataset', times=2, dataset=part), part]
        )
        config.pop('batch_sampler')
        dataset = CheckedRunner.build_dataloader(config, seed=0).dataset
        for leaf in (dataset.datasets[0].dataset, dataset.datasets[1]):
            assert labels_by_category(leaf, data) == {1: {0}, 2: {1}}

    def test_a_type_of_ours_for_other_runners(self, data, tmp_path):
        change_categories(data, lambda categories: categories[::-1])
        config = loader_config('instance', data, tmp_path).dataset
        stock = DATASETS.build(config)
        ours = DATASETS.build(dict(config, type='mmpointrend.CheckedCocoDataset'))
        assert labels_by_category(stock, data) == {1: {1}, 2: {0}}
        assert labels_by_category(ours, data) == {1: {0}, 2: {1}}

    def test_two_categories_of_one_name(self, data, tmp_path):
        change_categories(data, lambda categories: [*categories, dict(id=3, name='box')])
        with pytest.raises(InputError, match=r"has several categories named 'box': merge them"):
            build('instance', data, tmp_path)


class TestNames:
    @pytest.mark.parametrize(
        ('metainfo', 'complaint'),
        [
            (dict(classes=('Disc', 'box')), r"lacks \('Disc'\); it has 'disc' where metainfo\.cl"),
            (dict(classes=('disc ', 'box')), r"lacks \('disc '\); it has 'disc' where metainfo\."),
            (
                dict(classes=('a', 'b')),
                r"has 0 of the 2 classes \(a, b\): it lacks \('a', 'b'\), and names \(disc, box\); "
                r'set metainfo=dict\(classes=\.\.\.\) to the names that it has\.',
            ),
            (dict(classes='disc'), r"metainfo\.classes is the text 'disc': write a tuple, \('disc"),
            (dict(CLASSES=('box', 'disc')), r'key CLASSES, which is not read: write metainfo=dict'),
            (dict(classes={'disc', 'box'}), r'metainfo\.classes is a set: write a tuple of names'),
            (dict(classes=('disc', 2)), r'metainfo\.classes has 2 as name 1: write names as text'),
            (
                dict(classes=('disc', 'box', 'disc')),
                r"metainfo\.classes names 'disc' twice, as labels 0 and 2",
            ),
        ],
    )
    def test_of_instances(self, metainfo, complaint, data, tmp_path):
        with pytest.raises(InputError, match=rf'^CocoDataset: .*{complaint}'):
            build('instance', data, tmp_path, metainfo=metainfo)

    @pytest.mark.parametrize('key', ['classes', 'CLASSES'])
    def test_classes_outside_of_metainfo(self, key, data, tmp_path):
        with pytest.raises(
            InputError, match=rf'{key} is not read here: write metainfo=dict\(class'
        ):
            build('instance', data, tmp_path, **{key: ('disc', 'box')})

    @pytest.mark.parametrize(
        ('classes', 'complaint'),
        [
            ('disc', r"metainfo\.classes is the text 'disc'"),
            (('disc', 'disc', 'box'), r"metainfo\.classes names 'disc' twice"),
        ],
    )
    def test_of_label_maps(self, classes, complaint, data, tmp_path):
        with pytest.raises(InputError, match=rf'^BaseSegDataset: {complaint}'):
            build('semantic', data, tmp_path, metainfo=dict(classes=classes))

    def test_that_mmsegs_dataset_does_not_have(self, data, tmp_path):
        with pytest.raises(
            InputError,
            match=r"metainfo\.classes has \('Road', 'yeti'\), but .* has 'road' where "
            r"metainfo\.classes has 'Road': take names of its own, or type=BaseSegDataset",
        ):
            build(
                'semantic',
                data,
                tmp_path,
                type='CityscapesDataset',
                metainfo=dict(classes=('Road', 'yeti')),
            )

    def test_of_a_file_and_in_both_cases(self, data, tmp_path):
        names = tmp_path / 'names.txt'
        names.write_text('box\ndisc\n')
        dataset = build('instance', data, tmp_path, metainfo=dict(classes=str(names))).dataset
        assert labels_by_category(dataset, data) == {1: {1}, 2: {0}}
        both = dict(classes=('a', 'b'), CLASSES=['a', 'b'])
        assert complaint_about_classes(both) is None
        assert complaint_about_classes(None) is None

    def test_only_order_differs(self):
        assert only_order_differs(('a', 'b'), ('b', 'A '))
        assert not only_order_differs(('a', 'b'), ('a', 'b'))
        assert not only_order_differs(('a', 'b'), ('b', 'c'))


def dataset_of(*classes):
    """Something with these classes."""
    return SimpleNamespace(metainfo=dict(classes=classes))


class TestTwoDatasets:
    def test_another_order_is_refused(self):
        with pytest.raises(
            ConfigError,
            match=r'^train_dataloader has the classes \(a, b, c\) and val_dataloader \(a, c, b\), '
            r"the same in another order \(label 1 is 'b' in the one and 'c' in the other\): give "
            r'both datasets the same metainfo=dict\(classes=\.\.\.\)\.$',
        ):
            check_same_classes(
                dataset_of('a', 'c', 'b'),
                dataset_of('a', 'b', 'c'),
                'val_dataloader',
                'train_dataloader',
            )

    def test_other_names_are_warned_of(self, told):
        check_same_classes(dataset_of('a', 'd'), dataset_of('a', 'b'), 'val', 'train')
        assert told == [
            'train has the classes (a, b) and val (a, d): a label means the one there and the '
            "other here (label 1 is 'b' in the one and 'd' in the other)."
        ]

    @pytest.mark.parametrize('other', [('a', 'b'), ('A', 'b '), ('a', 'b', 'c'), ()])
    def test_these_pass(self, other, told):
        check_same_classes(dataset_of('a', 'b'), dataset_of(*other), 'val', 'train')
        check_same_classes(dataset_of('a', 'b'), object(), 'val', 'train')
        assert not told

    def test_labels_that_are_shifted_in_one(self, told):
        kinds = [
            SimpleNamespace(metainfo=dict(classes=('a',)), data_root=root, reduce_zero_label=zero)
            for root, zero in (('x', True), ('x', False), ('y', False))
        ]
        check_same_classes(kinds[0], kinds[2], 'val', 'train')
        check_same_classes(kinds[1], kinds[1], 'val', 'train')
        assert not told
        check_same_classes(kinds[0], kinds[1], 'val', 'train')
        assert 'reduce_zero_label is True in the dataset of val and False in that of tr' in told[0]

    def test_shift_that_dataset_and_pipeline_do_not_share(self, data, tmp_path):
        pipeline = loader_config('semantic', data, tmp_path).dataset.pipeline
        pipeline[1].reduce_zero_label = True
        with pytest.raises(
            InputError, match=r'reduce_zero_label is False in the dataset, but True in the LoadAnn'
        ):
            build('semantic', data, tmp_path, pipeline=pipeline)
        build('semantic', data, tmp_path, pipeline=pipeline, reduce_zero_label=True)

    def test_in_one_loader(self, data, tmp_path):
        config = loader_config('instance', data, tmp_path)
        other = dict(config.dataset, metainfo=dict(classes=('box', 'disc')))
        config.dataset = dict(type='ConcatDataset', datasets=[config.dataset, other])
        with pytest.raises(
            InputError,
            match=r'the same classes in different orders, \(disc, box\) and \(box, disc\): label 0 '
            r"is 'disc' in the one and 'box' in the other; give each the same metainfo",
        ):
            CheckedRunner.build_dataloader(config, seed=0)

    def test_that_mmengine_does_not_concatenate(self, data, tmp_path):
        config = loader_config('semantic', data, tmp_path)
        names = ('background', 'box', 'disc')
        other = dict(config.dataset, metainfo=dict(classes=names, palette=[[0, 0, 0]] * 3))
        config.dataset = dict(type='ConcatDataset', datasets=[config.dataset, other])
        with pytest.raises(
            InputError,
            match=r'different classes, \(background, disc, box\) and \(background, box, disc\): '
            r'give each the same metainfo=dict\(classes=\.\.\.\), in the same order\.',
        ):
            CheckedRunner.build_dataloader(config, seed=0)

    def test_parts_that_differ_in_something_else(self, data, tmp_path):
        config = loader_config('instance', data, tmp_path)
        other = dict(
            config.dataset, metainfo=dict(classes=('disc', 'box'), palette=[[1, 2, 3]] * 2)
        )
        config.pop('batch_sampler')
        config.dataset = dict(type='ConcatDataset', datasets=[config.dataset, other])
        dataset = CheckedRunner.build_dataloader(config, seed=0).dataset
        assert isinstance(dataset.metainfo, list)
        check_class_counts(torch.nn.Linear(1, 1), dataset, 'train_dataloader')
        check_same_classes(dataset, dataset, 'val', 'train')


class TestCheckpoint:
    @staticmethod
    def check(trained, *classes, trains_anew=False, key='classes'):
        """Compare a checkpoint with a dataset."""
        check_checkpoint_classes(
            dict(meta=dict(dataset_meta={key: trained})),
            dataset_of(*classes),
            'a.pth',
            'test_dataloader',
            trains_anew=trains_anew,
        )

    @pytest.mark.parametrize('trained', [('b', 'a'), ['b', 'a']])
    @pytest.mark.parametrize('key', ['classes', 'CLASSES'])
    def test_another_order_is_refused(self, trained, key):
        with pytest.raises(
            CheckpointError,
            match=r'^the checkpoint a\.pth was trained on the classes \(b, a\), and the dataset of '
            r"test_dataloader has \(a, b\), the same in another order \(label 0 is 'b' in the one "
            r"and 'a' in the other\): set test_dataloader\.dataset\.metainfo=dict\(classes=\.\.\.\) "
            r'to the order of the checkpoint\.$',
        ):
            self.check(trained, 'a', 'b', key=key)

    def test_of_mmdet_2(self):
        with pytest.raises(CheckpointError, match=r'the same in another order'):
            check_checkpoint_classes(
                dict(meta=dict(CLASSES=('b', 'a'))), dataset_of('a', 'b'), '', '', trains_anew=False
            )

    def test_start_of_training_is_warned_of(self, told):
        self.check(('b', 'a'), 'a', 'b', trains_anew=True)
        assert told[0].startswith('The checkpoint a.pth was trained on the classes (b, a)')
        assert 'so that heads start with swapped classes' in told[0]

    def test_other_names(self, told):
        self.check(('a', 'c'), 'a', 'b', trains_anew=True)
        assert not told
        self.check(('a', 'c'), 'a', 'b')
        assert "(label 1 is 'c' in the one and 'b' in the other)." in told[0]

    @pytest.mark.parametrize(
        'trained', [('a', 'b'), ('A', 'b '), ('a',), None, 'ab', 3, [1, 2], dict(a=1), []]
    )
    def test_these_pass(self, trained, told):
        self.check(trained, 'a', 'b')
        check_checkpoint_classes({}, dataset_of('a'), '', '', trains_anew=False)
        check_checkpoint_classes(dict(meta=3), dataset_of('a'), '', '', trains_anew=False)
        assert not told


class TestRun:
    """The checks are where the runner asks for them."""

    @pytest.fixture
    def runner(self, data, tmp_path):
        cfg = Config.fromfile(write_config('instance', tmp_path, data, length=1, workers=0))
        cfg.experiment_name = tmp_path.name
        cfg.val_dataloader.dataset.metainfo = dict(classes=('box', 'disc'))
        return CheckedRunner.from_cfg(cfg)

    def test_validation_in_another_order(self, runner):
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        with pytest.raises(ConfigError, match=r'train_dataloader has the classes \(disc, box\)'):
            runner.build_val_loop(runner._val_loop)

    def test_checkpoint_in_another_order(self, runner, tmp_path):
        runner._test_loop = runner.build_test_loop(runner._test_loop)
        path = str(tmp_path / 'a.pth')
        meta = dict(dataset_meta=dict(classes=('box', 'disc')))
        state = runner.model.state_dict()
        torch.save(dict(meta=meta, state_dict=state), path)
        with pytest.raises(CheckpointError, match=r'the classes \(box, disc\), and the dataset'):
            runner.load_checkpoint(path)
