# Copyright (c) The mmpointrend authors.
"""Annotations as they come: ids from 0, other orders of categories, twice the same id, no masks."""

import copy
import logging
import math
import re

import numpy as np
import pytest
from mmengine.logging import MMLogger
from tiny_annotations import figures_of, perfect_samples, rectangles, write

from mmpointrend.data_files import read_json
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation import CocoBoundaryMetric
from mmpointrend.evaluation.coco_truth import category_ids, number_annotations
from mmpointrend.evaluation.evaluate_coco import evaluate_coco
from mmpointrend.evaluation.mask_truth import with_masks

CLASSES = ('disc', 'box', 'ring')
AP = ('bbox_mAP', 'segm_mAP', 'boundary_mAP')
BACKENDS = ('pycocotools', 'faster-coco-eval')


@pytest.fixture
def warnings(monkeypatch):
    """Texts that are logged as warnings."""
    found: list[str] = []

    def handle(record):
        if record.levelno >= logging.WARNING:
            found.append(record.getMessage())

    monkeypatch.setattr(MMLogger.get_current_instance(), 'handle', handle)
    return found


def perfect(content, tmp_path, classes=CLASSES, **kwargs):
    """Figures of perfect predictions."""
    metric = CocoBoundaryMetric(write(content, tmp_path / 'truth.json'), **kwargs)
    return figures_of(metric, perfect_samples(content, classes), classes)


class TestIds:
    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('first_id', [0, 1, -3, 2**70])
    def test_perfect_predictions_have_ap_1(self, backend, first_id, tmp_path):
        figures = perfect(rectangles(CLASSES, first_id=first_id), tmp_path, backend=backend)
        assert [figures[name] for name in AP] == [1, 1, 1]

    @pytest.mark.parametrize('kind', [int, 'image {}'.format])
    def test_recall_where_images_differ_in_their_number_of_objects(self, kind, tmp_path):
        content = rectangles(CLASSES, images=3)
        samples = perfect_samples(content, CLASSES)
        # Of the first image one object is left, the third one is not tested.
        content['annotations'] = content['annotations'][2:]
        for entry, key in [
            *((image, 'id') for image in content['images']),
            *((annotation, 'image_id') for annotation in content['annotations']),
            *((sample, 'img_id') for sample in samples),
        ]:
            entry[key] = kind(entry[key])
        path = write(content, tmp_path / 't.json')
        figures = figures_of(
            CocoBoundaryMetric(path, metric='proposal_fast'), samples[1::-1], CLASSES
        )
        assert figures == dict.fromkeys(('AR@100', 'AR@300', 'AR@1000'), pytest.approx(4 / 7))

    def test_recall_of_proposals(self, tmp_path):
        metric = ['proposal', 'proposal_fast']
        figures = perfect(rectangles(CLASSES, first_id=0), tmp_path, metric=metric)
        assert figures['AR@100'] == figures['AR_s@1000'] == 1

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_text(self, backend, tmp_path):
        content = rectangles(CLASSES, first_id=0)
        for kind, key in (('images', 'id'), ('annotations', 'image_id')):
            for entry in content[kind]:
                entry[key] = f'image {entry[key]}'
        for kind, key in (('categories', 'id'), ('annotations', 'category_id')):
            for entry in content[kind]:
                entry[key] = f'kind {entry[key]}'
        # pycocotools takes the letters of a text for ids where mmdet asks for a class's name.
        classwise = backend != 'pycocotools'
        figures = perfect(content, tmp_path, backend=backend, classwise=classwise)
        assert [figures[name] for name in AP] == [1, 1, 1]
        assert figures.get('boundary_ring_precision', 1) == 1

    @pytest.mark.parametrize('kind', ['images', 'annotations', 'categories'])
    def test_twice_the_same(self, kind, tmp_path):
        content = rectangles(CLASSES)
        content[kind][1]['id'] = content[kind][0]['id']
        number = content[kind][0]['id']
        complaint = rf'^2 entries of {kind} in the annotation file .*t\.json have the id {number}: '
        with pytest.raises(InputError, match=complaint):
            CocoBoundaryMetric(write(content, tmp_path / 't.json'))

    @pytest.mark.parametrize('number', ['1', None, [1], True])
    def test_of_several_types(self, number, tmp_path):
        content = rectangles(CLASSES)
        content['images'][0]['id'] = number
        with pytest.raises(
            InputError, match=r'the ids of images in .* are of several types or odd'
        ):
            CocoBoundaryMetric(write(content, tmp_path / 't.json'))

    @pytest.mark.parametrize(
        ('content', 'complaint'),
        [
            ([], 'has no list of images'),
            (dict(images=[]), 'has no list of categories'),
            (dict(images={}, categories=[]), 'has no list of images'),
            (dict(images=[{}], categories=[]), 'entry 0 of images .* lacks id'),
            (dict(images=[7], categories=[]), 'entry 0 of images .* lacks id'),
            (dict(images=[], categories=[dict(id=1, name=['a'])]), 'a name that is not text'),
        ],
    )
    def test_what_is_not_coco(self, content, complaint):
        with pytest.raises(InputError, match=complaint):
            number_annotations(content, 'a.json')

    def test_images_that_are_not_there(self, warnings):
        content = rectangles(CLASSES)
        content['annotations'][0]['image_id'] = 'lost'
        number_annotations(content, 'a.json')
        assert warnings == [
            'of the 6 annotations of a.json 1 are of images that it does not have (the first is of '
            "'lost'): they do not count."
        ]
        for annotation in content['annotations']:
            annotation['image_id'] = str(annotation['image_id'])
        with pytest.raises(InputError, match='make image_id the id of an image, of the same type'):
            number_annotations(content, 'a.json')

    def test_evaluation_leaves_its_input_as_it_is(self):
        content = rectangles(CLASSES, first_id=0)
        ids = [category['id'] for category in content['categories']]
        records = [
            dict(image_id=a['image_id'], category_id=a['category_id'], score=0.5, bbox=a['bbox'])
            for a in content['annotations']
        ]
        before = copy.deepcopy((content, records))
        assert evaluate_coco(content, records, 'bbox', cat_ids=ids).stats[0] == 1
        assert (content, records) == before


class TestNumbers:
    @pytest.mark.parametrize(
        ('key', 'value', 'complaint'),
        [
            ('area', '42', "the area '42': write a number of square pixels."),
            ('area', [42], 'the area [42]: write a number of square pixels.'),
            ('area', math.nan, 'the area nan: write a number of square pixels.'),
            ('area', 10**400, 'write a number of square pixels.'),
            ('iscrowd', '0', "the iscrowd '0': write 0 or 1."),
            ('iscrowd', {}, 'the iscrowd {}: write 0 or 1.'),
            ('iscrowd', math.inf, 'the iscrowd inf: write 0 or 1.'),
            ('bbox', None, 'the bbox None: write [x, y, width, height] as numbers of pixels.'),
            ('bbox', [1, 2, 3], 'the bbox [1, 2, 3]: write [x, y, width, height] as'),
            ('bbox', [1, 2, '3', 4], "the bbox [1, 2, '3', 4]: write [x, y, width, height] as"),
            ('category_id', [1], 'the category_id [1]: write the id of a category.'),
        ],
    )
    def test_that_are_none(self, key, value, complaint, tmp_path):
        content = rectangles(CLASSES)
        content['annotations'][1][key] = value
        path = write(content, tmp_path / 't.json')
        beginning = f'entry 1 of annotations in the annotation file {path} has '
        with pytest.raises(InputError, match=re.escape(beginning) + '.*' + re.escape(complaint)):
            CocoBoundaryMetric(path, metric='proposal')

    def test_boxes_are_needed_where_they_are_compared(self, tmp_path):
        content = rectangles(CLASSES)
        samples = perfect_samples(content, CLASSES)
        for annotation in content['annotations']:
            del annotation['bbox']
        path = write(content, tmp_path / 't.json')
        metric = CocoBoundaryMetric(path, metric=['segm', 'boundary'])
        assert figures_of(metric, samples, CLASSES)['segm_mAP'] == 1
        with pytest.raises(InputError, match=r'has the bbox None: write \[x, y, width, height\]'):
            CocoBoundaryMetric(path, metric=['segm', 'bbox'])

    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize(
        ('crowd', 'recall'),
        [(None, 0.5), (False, 0.5), (0.0, 0.5), (True, 1), (-1, 1), (256, 1), (1.0, 1)],
    )
    def test_crowds_are_not_missed(self, backend, crowd, recall, tmp_path):
        content = rectangles(('disc',))
        samples = perfect_samples(content, ('disc',))
        content['annotations'][0]['iscrowd'] = crowd
        samples[0]['pred_instances']['masks'][:] = False
        samples[0]['pred_instances']['bboxes'][:] = 0
        path = write(content, tmp_path / 't.json')
        metric = CocoBoundaryMetric(path, backend=backend, metric_items=['AR@100'])
        figures = figures_of(metric, samples, ('disc',))
        assert figures == dict.fromkeys(('bbox_AR@100', 'segm_AR@100', 'boundary_AR@100'), recall)

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_sizes_with_a_point(self, backend, tmp_path):
        content = rectangles(CLASSES)
        for image in content['images']:
            image.update(height=64.0, width=64.0)
        assert perfect(content, tmp_path, backend=backend)['segm_mAP'] == 1

    def test_ids_beyond_64_bits_by_federated_rules(self):
        content = rectangles(
            CLASSES, neg_category_ids=[2**64 - 1], not_exhaustive_category_ids=[2**64 - 1]
        )
        for entry, key in [
            (content['categories'][0], 'id'),
            *((a, 'category_id') for a in content['annotations'][::3]),
        ]:
            entry[key] = 2**64 - 1
        records = [dict(a, score=0.5) for a in content['annotations']]
        assert evaluate_coco(content, records, 'bbox', federated=True).all_stats[0] == 1

    def test_frequencies_that_are_none(self):
        content = rectangles(CLASSES)
        for category, frequency in zip(content['categories'], ('x', 8, [1]), strict=True):
            category['frequency'] = frequency
        records = [dict(a, score=0.5) for a in content['annotations']]
        assert evaluate_coco(content, records, 'bbox', federated=False).stats[0] == 1


class TestNames:
    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], ('ring', 'disc'), ('box',)])
    def test_labels_follow_them(self, backend, classes, tmp_path):
        figures = perfect(rectangles(CLASSES), tmp_path, classes, backend=backend, classwise=True)
        assert [figures[name] for name in AP] == [1, 1, 1]

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_figures_of_classes(self, backend, tmp_path):
        content = rectangles(CLASSES)
        metric = CocoBoundaryMetric(
            write(content, tmp_path / 't.json'), metric='bbox', backend=backend, classwise=True
        )
        samples = perfect_samples(content, CLASSES)
        for sample in samples:
            found = sample['pred_instances']
            found['bboxes'][found['labels'] == CLASSES.index('ring')] += 30
        figures = figures_of(metric, samples, CLASSES)
        name = '{}_precision' if backend == 'pycocotools' else 'bbox_{}_precision'
        assert [figures[name.format(c)] for c in CLASSES] == [1, 1, 0]

    def test_written_results_have_the_ids_of_the_file(self, tmp_path):
        content = rectangles(CLASSES)
        metric = CocoBoundaryMetric(
            write(content, tmp_path / 't.json'),
            metric='bbox',
            format_only=True,
            outfile_prefix=f'{tmp_path}/out',
        )
        classes = CLASSES[::-1]
        assert figures_of(metric, perfect_samples(content, classes), classes) == {}
        written = read_json(tmp_path / 'out.bbox.json')
        assert [r['category_id'] for r in written] == [
            a['category_id'] for a in content['annotations']
        ]

    def test_another_order_is_said_once(self, tmp_path, warnings):
        content = rectangles(CLASSES)
        assert category_ids(CLASSES, content['categories'], 'a.json') == [12, 11, 10]
        assert not warnings
        assert category_ids(('ring', 'disc'), content['categories'], 'a.json') == [10, 12]
        (warning,) = warnings
        assert 'in another order (disc, ring) than the classes (ring, disc)' in warning

    def test_names_that_are_missing_or_doubled(self):
        categories = rectangles(CLASSES)['categories']
        with pytest.raises(
            ConfigError,
            match=r'a\.json lacks 1 of the 2 classes \(Disc\); its cat.* \(disc, box, ring\)',
        ):
            category_ids(('Disc', 'box'), categories, 'a.json')
        categories[2]['name'] = 'box'
        with pytest.raises(InputError, match=r"a\.json has 2 categories named 'box'"):
            category_ids(('disc', 'box'), categories, 'a.json')
        assert category_ids(('disc',), categories, 'a.json') == [12]

    def test_the_name_that_lvis_misspells(self, warnings):
        from mmdet.datasets import LVISV1Dataset

        classes = LVISV1Dataset.METAINFO['classes']
        assert classes[654] == 'speaker_(stereo_equipment)'
        names = [*classes[:654], 'speaker_(stero_equipment)', *classes[655:]]
        categories = [dict(id=n, name=name) for n, name in enumerate(names, 1)]
        assert category_ids(classes, categories, 'lvis.json') == list(range(1, 1204))
        assert not warnings


class TestImages:
    def test_some_that_were_not_tested(self, tmp_path, warnings):
        content = rectangles(CLASSES)
        metric = CocoBoundaryMetric(write(content, tmp_path / 't.json'), metric='bbox')
        figures = figures_of(metric, perfect_samples(content, CLASSES)[:1], CLASSES)
        assert figures['bbox_mAP'] == pytest.approx(0.5, abs=0.01)
        (warning,) = warnings
        assert '1 of the 2 images of' in warning and 'first of id 8, were not tested' in warning

    def test_others(self, tmp_path):
        content = rectangles(CLASSES)
        metric = CocoBoundaryMetric(write(content, tmp_path / 't.json'))
        samples = perfect_samples(content, CLASSES)
        samples[1]['img_id'] = 99
        with pytest.raises(ConfigError, match=r'the tested image of id 99 is not in .*t\.json'):
            metric.process({}, samples)

    def test_of_another_size(self, tmp_path):
        content = rectangles(CLASSES)
        content['images'][1]['height'] = 32
        path = write(content, tmp_path / 't.json')
        samples = perfect_samples(content, CLASSES)
        complaint = r'the image 8 has height and width \(32, 64\) in .*, but is of \(64, 64\)'
        with pytest.raises(InputError, match=complaint):
            CocoBoundaryMetric(path).process({}, samples)
        figures = figures_of(CocoBoundaryMetric(path, metric='bbox'), samples, CLASSES)
        assert figures['bbox_mAP'] == 1

    @pytest.mark.parametrize('size', [{}, dict(height='64', width=64), dict(height=64, width=0.5)])
    def test_without_objects_and_without_a_size(self, size, tmp_path):
        content = rectangles(CLASSES)
        samples = perfect_samples(content, CLASSES)
        content['annotations'] = content['annotations'][:3]
        content['images'][1] = dict(id=8, file_name='1.png', **size)
        path = write(content, tmp_path / 't.json')
        with pytest.raises(InputError, match=r'the image 8 has height and width \(.*64\) where it'):
            CocoBoundaryMetric(path).process({}, samples)
        CocoBoundaryMetric(path, metric='bbox').process({}, samples)

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_no_detection_in_any(self, backend, tmp_path):
        content = rectangles(CLASSES)
        metric = CocoBoundaryMetric(write(content, tmp_path / 't.json'), backend=backend)
        samples = perfect_samples(content, ())
        for sample in samples:
            assert not len(sample['pred_instances']['labels'])
        figures = figures_of(metric, samples, CLASSES)
        for name in AP:
            assert figures[name] == figures[f'{name}_50'] == 0 and figures[f'{name}_l'] == -1

    @pytest.mark.parametrize('backend', BACKENDS)
    def test_none(self, backend, tmp_path, warnings):
        metrics = ['bbox', 'segm', 'boundary', 'proposal', 'proposal_fast']
        path = write(rectangles(CLASSES), tmp_path / 't.json')
        metric = CocoBoundaryMetric(path, metric=metrics, backend=backend, prefix='a')
        figures = figures_of(metric, [], CLASSES)
        assert len(figures) == 3 * 6 + 6 and all(map(math.isnan, figures.values()))
        assert 'No image was tested, so that the figures of a are nan' in warnings[-1]


class TestMasks:
    @pytest.mark.parametrize('backend', BACKENDS)
    @pytest.mark.parametrize(
        'segmentation',
        [None, [], [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[1, 2, 3, 4, 5, math.nan]],
         [[1, 2, 3, 4, 5, 1e9]], [['1', '2', '3', '4', '5', '6']], [1, 2, 3, 4, 5, 6], 'x', {},
         dict(size=[64, 64], counts=[7]), dict(size=[1, 4096], counts=[0, 4096]),
         dict(size=[64, 64], counts=[[0], 4096]), dict(size=[64, 64], counts='PPPo0')],
    )  # fmt: skip
    def test_annotations_without_one_are_neither_found_nor_missed(
        self, backend, segmentation, tmp_path, warnings
    ):
        content = rectangles(CLASSES)
        samples = perfect_samples(content, CLASSES)
        content['annotations'][1]['segmentation'] = segmentation
        metric = CocoBoundaryMetric(write(content, tmp_path / 't.json'), backend=backend)
        figures = figures_of(metric, samples, CLASSES)
        assert [figures[name] for name in AP] == [1, 1, 1]
        assert '1 of the 6 annotations of' in warnings[0] and 'the first is entry 1:' in warnings[0]

    def test_missing_keys(self, tmp_path):
        content = rectangles(CLASSES)
        samples = perfect_samples(content, CLASSES)
        del content['annotations'][0]['segmentation'], content['annotations'][2]['iscrowd']
        metric = CocoBoundaryMetric(write(content, tmp_path / 't.json'))
        assert figures_of(metric, samples, CLASSES)['segm_mAP'] == 1

    def test_polygons_that_cannot_be_drawn_beside_others(self):
        content = rectangles(CLASSES)
        good = content['annotations'][0]['segmentation'][0]
        content['annotations'][0]['segmentation'] = [[1, 2, 3, 4], good, [math.inf] * 6]
        assert with_masks(content, 'a.json')['annotations'][0]['segmentation'] == [good]

    def test_good_ones_are_not_copied(self):
        content = rectangles(CLASSES)
        content['annotations'][0]['segmentation'] = dict(size=[64, 64], counts=[0, 64, 4032])
        content['annotations'][1]['segmentation'] = dict(size=[64, 64], counts='0P2Pn3')
        assert with_masks(content, 'a.json') is content

    def test_no_mask_at_all(self, tmp_path):
        content = rectangles(CLASSES)
        for annotation in content['annotations']:
            annotation['segmentation'] = []
        path = write(content, tmp_path / 't.json')
        with pytest.raises(
            InputError, match=r"6 of the 6 annotations .*: leave 'segm' and 'boundary' out"
        ):
            CocoBoundaryMetric(path)
        samples = perfect_samples(rectangles(CLASSES), CLASSES)
        assert (
            figures_of(CocoBoundaryMetric(path, metric='bbox'), samples, CLASSES)['bbox_mAP'] == 1
        )

    @pytest.mark.parametrize(
        'size', [dict(height=None), dict(width=0), dict(height=1e9, width=1e9)]
    )
    def test_images_without_a_size(self, size):
        content = rectangles(CLASSES)
        content['images'][0].update(size)
        with pytest.raises(InputError, match=r'the image 7 in .*a\.json has no height and width'):
            with_masks(content, 'a.json')

    def test_strips_with_a_boundary(self):
        content = rectangles(CLASSES)
        content['images'][0].update(height=10**6, width=16)
        assert with_masks(content, 'a.json') is content
        with pytest.raises(InputError, match=r'the image 7 in .*a\.json has no height and width'):
            with_masks(content, 'a.json', 0.02)


def test_refusals_before_the_first_image(tmp_path):
    path = write(rectangles(CLASSES), tmp_path / 't.json')
    with pytest.raises(ConfigError, match=r"metric must be some of .* got \['mask'\]"):
        CocoBoundaryMetric(path, metric=['mask', 'bbox'])
    with pytest.raises(ConfigError, match=r"backend 'pycocotools' are .*; it has no AP50\."):
        CocoBoundaryMetric(path, metric_items=['AP50'])
    with pytest.raises(ConfigError, match='format_only=True needs outfile_prefix'):
        CocoBoundaryMetric(path, format_only=True)
    assert np.isclose(CocoBoundaryMetric(path, iou_thrs=[0.5]).iou_thrs, 0.5).all()
