# Copyright (c) The mmpointrend authors.
"""Annotations that mmdet drops or fails on are counted by reason, over the whole file."""

import copy
import json
import pickle
import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS
from pycocotools import mask as mask_api
from tiny_loaders import build, loader_config

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import CheckedAnnotations, checked_config
from mmpointrend.engine.checks.annotations import AnnotationUse, inspect_annotations
from mmpointrend.errors import InputError

EVERYTHING = AnnotationUse(boxes=True, masks=True, keeps_polygons=False)
RUNS = dict(size=[64, 64], counts=[64 * 10, 64 * 10, 64 * 44])

# What is changed in an annotation; what the sentence says of it; the fix.
FAULTS = {
    'crowd': (
        dict(iscrowd=1),
        r'the annotations{} are crowds \(iscrowd=1\), which training ignores \({}\)',
        r'set iscrowd=0 for single objects\.',
    ),
    'ignore': (
        dict(ignore=1),
        r'the annotations{} are marked ignore, which mmdet leaves out \({}\)',
        r'take "ignore" out of those that count\.',
    ),
    'text box': (
        dict(bbox=['1', '2', '30', '40']),
        r'the fields bbox, area or iscrowd{} hold something other than finite numbers \({}: '
        r"bbox \['1', '2', '30', '40'\]\)",
        r'write bbox=\[x, y, width, height\], area and iscrowd as numbers without quotes\.',
    ),
    'short box': (dict(bbox=[1, 2, 30]), r'hold something other.*: bbox \[1, 2, 30\]\)', 'bbox='),
    'no box': (dict(bbox=None), r'hold something other.*: bbox None\)', 'bbox='),
    'nan box': (dict(bbox=[1, 2, float('nan'), 4]), r'\[1, 2, nan, 4\]\)', 'bbox='),
    'text area': (dict(area='12.0'), r"hold something other.*: area '12\.0'\)", 'area and'),
    'text crowd': (dict(iscrowd='0'), r"hold something other.*: iscrowd '0'\)", 'iscrowd as'),
    'unit box': (
        dict(bbox=[0.1, 0.2, 0.5, 0.4]),
        r'the boxes{} are in \[0, 1\] \({}\)',
        r'multiply bbox and segmentation by the width and height of the image, in pixels\.',
    ),
    'outside': (
        dict(bbox=[64, 3, 10, 10]),
        r'the boxes{} lie outside of their image \({}\)',
        r'write bbox=\[x, y, width, height\] in pixels of the image, and its right width and',
    ),
    'thin': (
        dict(bbox=[5, 5, 0, 9]),
        r'the boxes{} are less than a pixel wide or high \({}\)',
        r'write bbox=\[x, y, width, height\] in pixels\.',
    ),
    'area 0': (
        dict(area=0),
        r'the areas{} are 0 or less \({}\)',
        r'write the area of each object in square pixels\.',
    ),
    'category': (
        dict(category_id='1'),
        r"the category ids{} are of no category \({}: category_id '1'\)",
        r'write ids of the list of categories, in the same type\.',
    ),
    'image': (
        dict(image_id='0'),
        r"the image ids{} are of no image \({}: image_id '0'\)",
        r'write ids of the list of images, in the same type\.',
    ),
    'no mask': (
        dict(segmentation=None),
        r'the segmentations{} are missing or empty \({}\)',
        r'write polygons or run lengths, or train a model without masks \(with_mask=False\)\.',
    ),
    'empty mask': (dict(segmentation=[]), r'segmentations{} are missing or empty', 'polygons or'),
    'flat': (
        dict(segmentation=[1, 2, 30, 2, 30, 40]),
        r'the segmentations{} are flat lists of numbers \({}\)',
        r'write a list of polygons, \[\[x1, y1, x2, y2, \.\.\.\]\]\.',
    ),
    'two points': (
        dict(segmentation=[[1, 2, 30, 40]]),
        r'the polygons{} have fewer than three points or an odd number of coordinates \({}\)',
        r'write polygons as \[x1, y1, x2, y2, x3, y3, \.\.\.\]\.',
    ),
    'odd': (dict(segmentation=[[1, 2, 30, 40, 5, 6, 7]]), 'an odd number', 'polygons as'),
    'text polygon': (
        dict(segmentation=[['1', '2', '30', '2', '30', '40']]),
        r'the polygons{} hold something other than finite numbers \({}\)',
        r'write their coordinates as numbers without quotes\.',
    ),
    'nan polygon': (
        dict(segmentation=[[1, 2, float('nan'), 2, 30, 40]]),
        'the polygons{} hold something other than finite numbers',
        'their coordinates',
    ),
    'infinite polygon': (
        dict(segmentation=[[1, 2, float('inf'), 2, 30, 40]]),
        'the polygons{} hold something other',
        'their coordinates',
    ),
    'far polygon': (
        dict(segmentation=[[1, 2, 1e9, 2, 30, 40]]),
        r'the polygons{} lie far outside of their image \({}\)',
        r'write their coordinates in pixels of the image\.',
    ),
    'long polygon': (
        dict(segmentation=[[1, 1, 600, 600] * 2000]),
        r'the polygons{} are longer than two million pixels \({}\)',
        r'simplify them or write run lengths\.',
    ),
    'unit polygon': (
        dict(segmentation=[[0.1, 0.2, 0.5, 0.2, 0.5, 0.6]]),
        r'the polygons{} are in \[0, 1\] while their boxes are not \({}\)',
        r'multiply segmentation by the width and height of the image, in pixels\.',
    ),
    'size of run lengths': (
        dict(segmentation=dict(RUNS, size=[32, 128])),
        r'the masks{} are run lengths of another size than their image \({}\)',
        r'make \[height, width\] of segmentation\.size those of the image\.',
    ),
    'damaged run lengths': (
        dict(segmentation=dict(size=[64, 64], counts=[64 * 64, 1])),
        r'the masks{} are run lengths that cannot be decoded \({}\)',
        r'write segmentation=dict\(size=\[height, width\], counts=\.\.\.\) as pycocotools does\.',
    ),
    'no counts': (dict(segmentation=dict(size=[64, 64])), 'cannot be decoded', 'counts='),
}


def spoil(data, faults, every=1):
    """Change every ``every``-th annotation of the tiny dataset; return the number of them."""
    path = data / 'annotations.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations'][::every]:
        annotation.update(copy.deepcopy(faults))
    path.write_text(json.dumps(content))
    return len(content['annotations'][::every])


@pytest.fixture
def told(monkeypatch):
    """Warnings of the checks."""
    lines = []
    monkeypatch.setattr(
        'mmpointrend.engine.checks.coco.print_log', lambda line, *args: lines.append(line)
    )
    return lines


@pytest.mark.parametrize('name', FAULTS)
def test_every_annotation_has_the_fault(name, data, tmp_path):
    change, clause, fix = FAULTS[name]
    assert spoil(data, change) == 12
    clause = clause.format(rf' of the annotation file {data}/annotations\.json', '12, first id 1')
    with pytest.raises(
        InputError,
        match=rf'^CocoDataset: none of 12 annotations can be used: .*{clause}.*; .*{fix}',
    ):
        build('instance', data, tmp_path)


@pytest.mark.parametrize('name', FAULTS)
def test_half_of_the_annotations_have_the_fault(name, data, tmp_path, told):
    """One warning, and the others are trained on."""
    change, clause, fix = FAULTS[name]
    spoil(data, change, every=2)
    loader = build('instance', data, tmp_path)
    (line,) = told
    assert re.match(
        rf'CocoDataset: 6 of 12 annotations of {data}/annotations\.json are not used: '
        rf'.*{clause.format("", "6, first id 1")}.*; .*{fix}',
        line,
    )
    for sample in next(iter(loader))['data_samples']:
        assert sample.gt_instances.labels.tolist() == [1]
        assert sample.gt_instances.masks.masks.any()


def test_nothing_is_said_of_good_ones(data, tmp_path, told):
    build('instance', data, tmp_path)
    assert not told


def test_several_reasons_are_told_in_one_sentence(data, tmp_path):
    spoil(data, dict(iscrowd=1))
    spoil(data, dict(area=0), every=3)
    with pytest.raises(
        InputError,
        match=r'are crowds \(iscrowd=1\), which training ignores \(8, first id 2\), '
        r'the areas are 0 or less \(4, first id 1\); write the area of each object in square '
        r'pixels, and set iscrowd=0 for single objects\.$',
    ):
        build('instance', data, tmp_path)


def test_advice_does_not_lead_to_the_next_error(data, tmp_path):
    """Crowds of run lengths where polygons are kept: iscrowd=0 alone would not do."""
    spoil(data, dict(iscrowd=1, segmentation=RUNS))
    pipeline = loader_config('instance', data, tmp_path).dataset.pipeline
    pipeline[1].poly2mask = False
    with pytest.raises(InputError, match=r'set iscrowd=0 .*, and set poly2mask=True'):
        build('instance', data, tmp_path, pipeline=pipeline)
    spoil(data, dict(iscrowd=0))
    pipeline[1].poly2mask = True
    batch = next(iter(build('instance', data, tmp_path, pipeline=pipeline)))
    assert all(len(sample.gt_instances) == 2 for sample in batch['data_samples'])


def test_some_run_lengths_where_polygons_are_kept(data, tmp_path, told):
    spoil(data, dict(segmentation=RUNS), every=2)
    pipeline = loader_config('instance', data, tmp_path).dataset.pipeline
    pipeline[1].poly2mask = False
    batch = next(iter(build('instance', data, tmp_path, pipeline=pipeline)))
    assert all(sample.gt_instances.labels.tolist() == [1] for sample in batch['data_samples'])
    assert '6 of 12 annotations' in told[0]
    assert 'poly2mask=False in the pipeline drops (6, first id 1)' in told[0]


class TestWhatIsNoFault:
    def test_a_detector_without_masks_needs_none(self, data, tmp_path, told):
        spoil(data, dict(segmentation=None))
        pipeline = loader_config('instance', data, tmp_path).dataset.pipeline
        pipeline[1].with_mask = False
        batch = next(iter(build('instance', data, tmp_path, pipeline=pipeline)))
        assert all(len(sample.gt_instances) == 2 for sample in batch['data_samples'])
        assert not told

    def test_images_to_test_need_no_annotations(self, data, tmp_path, told):
        spoil(data, dict(bbox=[0, 0, 0, 0], segmentation=None))
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
        loader = build('instance', data, tmp_path, pipeline=pipeline, test_mode=True)
        assert len(loader.dataset) == 6
        assert not told

    def test_files_of_test_images_have_no_annotations(self, data, tmp_path, told):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        del content['annotations']
        path.write_text(json.dumps(content))
        assert len(build('instance', data, tmp_path, test_mode=True).dataset) == 6
        assert not told

    def test_one_part_of_several_may_have_nothing(self, data, tmp_path, monkeypatch):
        lines = []
        monkeypatch.setattr(
            'mmpointrend.engine.checks.dataset.print_log', lambda line, *args: lines.append(line)
        )
        content = (data / 'annotations.json').read_text()
        spoil(data, dict(iscrowd=1))
        (data / 'crowds.json').write_text((data / 'annotations.json').read_text())
        (data / 'annotations.json').write_text(content)
        config = loader_config('instance', data, tmp_path)
        config.pop('batch_sampler')
        crowds = dict(config.dataset, ann_file='crowds.json')
        config.dataset = dict(type='ConcatDataset', datasets=[config.dataset, crowds])
        assert len(CheckedRunner.build_dataloader(config, seed=0).dataset) == 12
        assert 'none of 12 annotations can be used' in lines[0]
        config.dataset.datasets[0] = crowds
        with pytest.raises(InputError, match='none of 12 annotations can be used'):
            CheckedRunner.build_dataloader(config, seed=0)

    def test_a_dataset_that_parses_in_its_own_way(self, data, tmp_path, told):
        """Boxes of another form are its own affair; labels follow names there too."""
        spoil(data, dict(bbox=[1, 2, 3, 4, 5]))

        class Rotated(CocoDataset):
            def parse_data_info(self, raw):
                for annotation in raw['raw_ann_info']:
                    annotation['bbox'] = annotation['bbox'][:4]
                return super().parse_data_info(raw)

        metainfo = dict(classes=('box', 'disc'))
        loader = build('instance', data, tmp_path, type=Rotated, metainfo=metainfo)
        instances = loader.dataset.get_data_info(0)['instances']
        assert [instance['bbox_label'] for instance in instances] == [1, 0]
        (line,) = told
        assert 'another order' in line

    def test_validation_warns_and_goes_on(self, data, tmp_path, told):
        spoil(data, dict(iscrowd=1))
        build('instance', data, tmp_path, test_mode=True)
        assert '12 of 12 annotations' in told[0]

    def test_annotations_of_other_classes_do_not_count(self, data, tmp_path, told):
        spoil(data, dict(bbox=['a'] * 4), every=2)
        loader = build('instance', data, tmp_path, metainfo=dict(classes=('box',)))
        instances = [i for k in range(6) for i in loader.dataset.get_data_info(k)['instances']]
        assert [instance['bbox_label'] for instance in instances] == [0] * 6
        assert not told

    def test_run_lengths_as_they_are_usual(self, data, tmp_path, told):
        mask = np.zeros((64, 64), np.uint8, order='F')
        mask[10:40, 5:30] = 1
        code = mask_api.encode(mask)
        code['counts'] = code['counts'].decode()
        spoil(data, dict(segmentation=code), every=2)
        spoil(data, dict(segmentation=RUNS), every=4)
        batch = next(iter(build('instance', data, tmp_path)))
        assert all(len(sample.gt_instances) == 2 for sample in batch['data_samples'])
        assert not told

    @pytest.mark.parametrize('split', ['train', 'val'])
    @pytest.mark.parametrize('poly2mask', [True, False])
    def test_coco_itself(self, split, poly2mask, shared_dir, told):
        root = shared_dir / 'data' / 'coco_multi'
        if not root.is_dir():
            pytest.skip(f'{root} is missing')
        load = dict(type='mmdet.LoadAnnotations', with_mask=True, poly2mask=poly2mask)
        config = dict(
            type='mmdet.CocoDataset',
            data_root=str(root),
            ann_file=f'instances_{split}2017.json',
            data_prefix=dict(img=f'{split}2017/'),
            pipeline=[load],
        )
        dataset = DATASETS.build(checked_config(config))
        assert isinstance(dataset, CheckedAnnotations)
        assert not told
        expected = DATASETS.build(config)
        assert list(map(dataset.get_data_info, range(len(dataset)))) == list(
            map(expected.get_data_info, range(len(expected)))
        )

    def test_lvis_itself(self, shared_dir, told):
        """Its own files misspell a name; mmdet's classes do not."""
        path = shared_dir / 'fixtures' / 'lvis' / 'lvis_val_100.json'
        if not path.is_file():
            pytest.skip(f'{path} is missing')
        config = dict(
            type='mmdet.LVISV05Dataset',
            ann_file=str(path),
            data_prefix=dict(img=''),
            pipeline=[dict(type='mmdet.LoadAnnotations', with_mask=True)],
        )
        dataset = DATASETS.build(checked_config(config))
        instances = [i for k in range(100) for i in dataset.get_data_info(k)['instances']]
        assert len(dataset) == 100
        assert isinstance(dataset, CheckedAnnotations)
        assert len(instances) == 977
        assert not told


class TestIds:
    def change(self, data, change):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    @pytest.mark.parametrize('part', ['annotations', 'categories', 'images'])
    def test_repeated(self, part, data, tmp_path):
        def repeat(content):
            content[part][-1]['id'] = content[part][0]['id']

        self.change(data, repeat)
        with pytest.raises(
            InputError, match=rf'1 entries of {part} in .* have the id of another one, first \d'
        ):
            build('instance', data, tmp_path, metainfo=dict(classes=('box', 'disc')[:1]))

    def test_an_image_listed_twice_changes_nothing(self, data, tmp_path):
        self.change(data, lambda content: content['images'].append(dict(content['images'][0])))
        assert len(build('instance', data, tmp_path).dataset) == 6

    def test_list_as_id(self, data, tmp_path):
        spoil(data, dict(image_id=[1]))
        with pytest.raises(
            InputError, match=r'entry 0 of annotations in .* has the image_id \[1\]: write a whole'
        ):
            build('instance', data, tmp_path)

    @pytest.mark.parametrize('entry', [3, None, 'text', []])
    def test_entries_that_are_none(self, entry, data, tmp_path):
        self.change(data, lambda content: content['annotations'].append(entry))
        with pytest.raises(InputError, match=r'entry 12 of annotations in .* instead of an object'):
            build('instance', data, tmp_path)

    def test_name_that_is_a_list(self, data, tmp_path):
        self.change(data, lambda content: content['categories'][0].update(name=['disc']))
        with pytest.raises(InputError, match=r"has 1 of the 2 classes .* lacks \('disc'\)"):
            build('instance', data, tmp_path)

    def test_ignored_in_an_image_of_a_size_in_text(self, data, tmp_path):
        spoil(data, dict(ignore=1))
        self.change(data, lambda content: content['images'][2].update(height='64'))
        with pytest.raises(
            InputError, match=r'none of 12 annotations can be used: .* marked ignor'
        ):
            build('instance', data, tmp_path)

    def test_size_of_an_image_in_text(self, data, tmp_path):
        self.change(data, lambda content: content['images'][2].update(height='64'))
        with pytest.raises(
            InputError, match=r"image id 2 of .* has the size 64 x '64': write width and height as"
        ):
            build('instance', data, tmp_path)


class TestFilter:
    def test_every_image_is_too_small(self, data, tmp_path):
        with pytest.raises(
            InputError,
            match=r'filter_cfg leaves none of 6 images of .*: 6 are smaller than min_size=65\.$',
        ):
            build('instance', data, tmp_path, filter_cfg=dict(min_size=65, filter_empty_gt=True))

    def test_no_image_has_annotations(self, data, tmp_path):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, 'annotations': []}))
        assert len(build('instance', data, tmp_path).dataset) == 6
        with pytest.raises(
            InputError,
            match=r'none of 6 images .*: all have no annotation of the classes \(disc, box\) '
            r'\(filter_empty_gt=True\)\.$',
        ):
            build('instance', data, tmp_path, filter_cfg=dict(filter_empty_gt=True))


def test_workers_get_the_same_dataset(data, tmp_path):
    """Workers that are spawned unpickle it."""
    dataset = build('instance', data, tmp_path).dataset
    again = pickle.loads(pickle.dumps(dataset))
    assert isinstance(again, CheckedAnnotations)
    assert isinstance(again, CocoDataset)
    assert again.get_data_info(3) == dataset.get_data_info(3)
    assert len(again.get_subset([0, 1])) == 2


def test_wrapped_and_nested_steps_are_found():
    steps = type('Step', (), dict(with_mask=True, with_bbox=True, poly2mask=False))()
    nested = type('Choice', (), dict(transforms=[[type('Other', (), {})()], [steps]]))()
    pipeline = type('Compose', (), dict(transforms=[nested]))()
    assert AnnotationUse.of_pipeline(pipeline) == AnnotationUse(True, True, True)
    assert AnnotationUse.of_pipeline(None) == AnnotationUse(False, False, False)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)
_CONTENT = dict(
    images=[dict(id=1, width=50, height=40, file_name='a')], categories=[dict(id=1, name='a')]
)


@given(_ANYTHING, _ANYTHING, _ANYTHING, _ANYTHING)
def test_whatever_a_file_holds_is_counted(box, area, mask, crowd):
    """What is called usable can be drawn; all else has a reason."""
    annotation = dict(
        id=1, image_id=1, category_id=1, bbox=box, area=area, segmentation=mask, iscrowd=crowd
    )
    content = dict(_CONTENT, annotations=[annotation])
    findings = inspect_annotations(content, {1}, EVERYTHING, 'f')
    assert findings.total == findings.usable + sum(findings.counts.values()) == 1
    assert (findings.refusal('f') is None) == bool(findings.usable)


def uses(mask):
    """Whether a mask of 40 x 50 pixels is called usable."""
    annotation = dict(
        id=1, image_id=1, category_id=1, bbox=[1, 1, 20, 20], area=9, segmentation=mask
    )
    content = dict(_CONTENT, annotations=[annotation])
    return inspect_annotations(content, {1}, EVERYTHING, 'f').usable == 1


@given(
    st.integers(1, 2).flatmap(lambda n: st.lists(st.integers(0, 40 * 50), min_size=n, max_size=9))
)
def test_run_lengths_that_fill_their_mask(marks):
    """Those of pycocotools are taken, compressed or not; cut ones are not."""
    runs = np.diff([0, *sorted(marks), 40 * 50]).tolist()
    code = mask_api.frPyObjects(dict(size=[40, 50], counts=runs), 40, 50)
    counts = code['counts'].decode()
    assert uses(dict(size=[40, 50], counts=runs))
    assert uses(dict(size=[40, 50], counts=counts))
    assert not uses(dict(size=[40, 50], counts=[*runs, 1]))
    if runs[-1]:
        assert not uses(dict(size=[40, 50], counts=runs[:-1]))
        assert not uses(dict(size=[40, 50], counts=counts[:-1]))


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_run_lengths_called_usable_can_be_decoded(counts):
    if uses(dict(size=[40, 50], counts=counts)):
        assert set(np.unique(mask_api.decode(dict(size=[40, 50], counts=counts)))) <= {0, 1}


@given(
    st.lists(st.lists(st.floats(-80, 80) | st.integers(-80, 80), max_size=9), max_size=3),
)
def test_polygons_called_usable_can_be_drawn(polygons):
    drawable = [p for p in polygons if len(p) >= 6 and len(p) % 2 == 0]
    assert uses(polygons) == (bool(drawable) and max(map(max, drawable)) > 1)
    if drawable:
        assert mask_api.decode(mask_api.frPyObjects(drawable, 40, 50)).shape[:2] == (40, 50)


def test_time_of_a_large_file():
    """118,000 images would take seconds: a fiftieth of COCO."""
    polygon = [float(value % 50) for value in range(46)]
    content = dict(
        _CONTENT,
        annotations=[
            dict(
                id=i, image_id=1, category_id=1, bbox=[1, 1, 20, 20], area=9, segmentation=[polygon]
            )
            for i in range(17_200)
        ],
    )
    start = time.process_time()
    findings = inspect_annotations(content, {1}, EVERYTHING, 'f')
    assert findings.usable == 17_200
    assert time.process_time() - start < 1
