# Copyright (c) The mmpointrend authors.
"""Bad input is refused in a sentence that names the file, the key and the mend."""

import json
import shutil
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_runs import stop_workers, write_config
from torch import nn

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import (
    check_class_counts,
    check_dataset,
    leaves,
    naming_the_dataset,
)
from mmpointrend.errors import ConfigError, InputError, sentence_of


@pytest.fixture
def data(tiny_data, tmp_path) -> Path:
    """A copy of the tiny dataset that may be altered."""
    return Path(shutil.copytree(tiny_data, tmp_path / 'data'))


def loader_config(task: str, data: Path, tmp_path: Path, **change: object) -> dict:
    """Config of the training loader of a tiny run."""
    cfg = Config.fromfile(write_config(task, tmp_path, data, length=2, workers=0))
    init_default_scope(cfg.default_scope)
    cfg.train_dataloader.dataset.update(change)
    return cfg.train_dataloader


def build(task: str, data: Path, tmp_path: Path, **change: object):
    """The loader."""
    return CheckedRunner.build_dataloader(loader_config(task, data, tmp_path, **change), seed=0)


class TestDatasets:
    def test_good_ones_are_built_and_read(self, data, tmp_path):
        for task in ('instance', 'semantic'):
            assert len(next(iter(build(task, data, tmp_path)))['inputs']) == 2

    def test_missing_annotation_file(self, data, tmp_path):
        with pytest.raises(
            InputError, match=r'CocoDataset: the annotation file .*/no\.json does not exist'
        ):
            build('instance', data, tmp_path, ann_file='no.json')

    @pytest.mark.parametrize(
        ('content', 'complaint'),
        [
            ('', 'is damaged or no JSON'),
            ('{"images": [', 'is damaged or no JSON'),
            ('[]', 'is not in COCO format: it lacks images, annotations, categories'),
            ('{"images": []}', 'is not in COCO format: it lacks annotations, categories'),
        ],
    )
    def test_damaged_annotation_file(self, content, complaint, data, tmp_path):
        (data / 'annotations.json').write_text(content)
        with pytest.raises(InputError, match=rf'annotations\.json {complaint}'):
            build('instance', data, tmp_path)

    @pytest.mark.parametrize(
        ('kind', 'key'), [('annotations', 'bbox'), ('images', 'file_name'), ('categories', 'name')]
    )
    def test_entry_that_lacks_a_key(self, kind, key, data, tmp_path):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        del content[kind][1][key]
        path.write_text(json.dumps(content))
        with pytest.raises(
            InputError, match=rf'entry 1 of {kind} in .*annotations\.json lacks {key}'
        ):
            build('instance', data, tmp_path)

    def test_annotation_file_of_a_metric(self, tmp_path):
        with (
            pytest.raises(InputError, match=r'CocoMetric: the annotation file .*no\.json does not'),
            naming_the_dataset(dict(type='CocoMetric', ann_file=str(tmp_path / 'no.json'))),
        ):
            CocoMetric(ann_file=str(tmp_path / 'no.json'))

    def test_annotation_file_without_images(self, data, tmp_path):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, 'images': [], 'annotations': []}))
        with pytest.raises(
            InputError, match=r'no image to use was found in CocoDataset .*/annotations\.json'
        ):
            build('instance', data, tmp_path)

    def test_annotation_file_that_lacks_a_class(self, data, tmp_path):
        with pytest.raises(InputError, match=r'has 2 of the 3 classes \(disc, ring, box\)'):
            build('instance', data, tmp_path, metainfo=dict(classes=('disc', 'ring', 'box')))

    def test_missing_folder(self, data, tmp_path):
        prefix = dict(img_path='pictures', seg_map_path='labels')
        with pytest.raises(
            InputError, match=r'the folder .*/pictures does not exist; set data_root'
        ):
            build('semantic', data, tmp_path, data_prefix=prefix)

    def test_folder_without_images_of_the_suffix(self, data, tmp_path):
        with pytest.raises(InputError, match=r'no image to use was found in .*\(suffix \.tif\)'):
            build('semantic', data, tmp_path, img_suffix='.tif')

    def test_wrapped_dataset_is_looked_into(self, data, tmp_path):
        config = loader_config('semantic', data, tmp_path, img_suffix='.tif')
        config.dataset = dict(type='RepeatDataset', times=2, dataset=config.dataset)
        with pytest.raises(InputError, match=r'no image to use was found in BaseSegDataset'):
            CheckedRunner.build_dataloader(config, seed=0)
        assert len(list(leaves(dict(datasets=[dict(dataset=dict(type='a')), dict(type='b')])))) == 2

    def test_other_errors_stay_what_they_are(self, data, tmp_path):
        with pytest.raises(KeyError, match='NoSuchStep'):
            build('instance', data, tmp_path, pipeline=[dict(type='NoSuchStep')])


class TestFiles:
    @pytest.mark.parametrize(
        ('task', 'folder', 'kind'),
        [
            ('instance', 'images', 'image'),
            ('semantic', 'images', 'image'),
            ('semantic', 'labels', 'label map'),
        ],
    )
    @pytest.mark.parametrize('damage', ['missing', 'empty', 'text', 'cut'])
    def test_bad_file_is_named(self, damage, task, folder, kind, data, tmp_path):
        path = data / folder / '03.png'
        loader = build(task, data, tmp_path)
        if damage == 'missing':
            path.unlink()
        else:
            content = dict(empty=b'', text=b'no image', cut=path.read_bytes()[:40])[damage]
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf'the {kind} {path} ') as caught:
            loader.dataset[3]
        assert '\n' not in sentence_of(caught.value)

    def test_sentence_survives_a_worker(self, data, tmp_path):
        (data / 'labels' / '03.png').write_bytes(b'')
        config = loader_config('semantic', data, tmp_path)
        config.update(num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False))
        with pytest.raises(InputError) as caught:
            list(CheckedRunner.build_dataloader(config, seed=0))
        stop_workers()
        sentence = sentence_of(caught.value)
        assert sentence.startswith(f'the label map {data / "labels" / "03.png"} is empty; ')
        assert 'Traceback' in str(caught.value) and 'Traceback' not in sentence

    def test_fault_of_the_step_itself_is_passed_on(self, data, tmp_path):
        loader = build('semantic', data, tmp_path)
        with pytest.raises(KeyError, match='img_path'):
            loader.dataset.pipeline.transforms[0]({})


@pytest.mark.parametrize('form', ['polygon', 'polygons kept', 'run lengths', 'run lengths kept'])
def test_run_lengths_where_polygons_are_kept(data, tmp_path, form):
    """mmdet would ignore every instance, and train on nothing."""
    path = data / 'annotations.json'
    if form.startswith('run lengths'):
        content = json.loads(path.read_text())
        for annotation in content['annotations']:
            annotation['segmentation'] = dict(size=[64, 64], counts=[0, 64 * 64])
        path.write_text(json.dumps(content))
    pipeline = loader_config('instance', data, tmp_path).dataset.pipeline
    pipeline[1].poly2mask = not form.endswith('kept')
    if form == 'run lengths kept':
        with pytest.raises(
            InputError, match=r'the masks of .*/annotations\.json are run lengths.*poly2mask=True'
        ):
            build('instance', data, tmp_path, pipeline=pipeline)
    else:
        batch = next(iter(build('instance', data, tmp_path, pipeline=pipeline)))
        assert all(len(sample.gt_instances) == 2 for sample in batch['data_samples'])


class Heads(nn.Module):
    """A model with heads of given class counts."""

    def __init__(self, **counts: int) -> None:
        super().__init__()
        for name, count in counts.items():
            head = nn.Module()
            head.num_classes = count
            self.add_module(name, head)


class TestClassCounts:
    DATASET = type('Dataset', (), dict(metainfo=dict(classes=('a', 'b', 'c', 'd'))))()

    @pytest.mark.parametrize(
        'head', ['bbox_head', 'mask_head', 'point_head', 'decode_head', 'auxiliary_head']
    )
    def test_head_that_disagrees_is_named(self, head):
        model = nn.ModuleDict(dict(roi_head=Heads(**{head: 80})))
        with pytest.raises(
            ConfigError,
            match=rf'model\.roi_head\.{head}\.num_classes is 80, but the dataset of val_dataloader '
            r'has 4 classes \(a, b, c, \.\.\.\)',
        ):
            check_class_counts(model, self.DATASET, 'val_dataloader')

    def test_cascades_and_wrapped_models(self):
        heads = nn.ModuleList([Heads(), Heads()])
        heads[1].num_classes = 3
        model = nn.ModuleDict(dict(module=nn.ModuleDict(dict(bbox_head=heads))))
        with pytest.raises(ConfigError, match=r'model\.bbox_head\.num_classes is 3'):
            check_class_counts(model, self.DATASET, 'train_dataloader')

    def test_those_that_agree_and_those_that_count_something_else(self):
        model = Heads(bbox_head=4, point_head=4, rpn_head=1, backbone=1000)
        check_class_counts(model, self.DATASET, 'train_dataloader')
        check_class_counts(Heads(bbox_head=9), object(), 'train_dataloader')
        agnostic = Heads(mask_head=1)
        agnostic.mask_head.class_agnostic = True
        check_class_counts(agnostic, self.DATASET, 'train_dataloader')

    def test_classes_given_as_text(self):
        dataset = type('Dataset', (), dict(metainfo=dict(classes='cat')))()
        with pytest.raises(ConfigError, match=r"is the text 'cat': write a tuple, \('cat',\)"):
            check_class_counts(Heads(), dataset, 'train_dataloader')


def test_coco_itself_has_all_its_classes(shared_dir):
    """The check on lost categories must not refuse the real file."""
    root = shared_dir / 'data' / 'coco_multi'
    if not root.is_dir():
        pytest.skip(f'{root} is missing')
    dataset = CocoDataset(
        data_root=str(root), ann_file='instances_val2017.json', data_prefix=dict(img='val2017/')
    )
    check_dataset(dataset)
    assert len(dataset) == 158
