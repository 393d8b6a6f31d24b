# Copyright (c) The mmpointrend authors.
"""A dataset that cannot be used is refused in a sentence that names the file and the fix."""

import json
import os

import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from tiny_loaders import build, loader_config

from mmpointrend.datasets.checked_coco import CheckedCocoDataset
from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import check_dataset, leaves, naming_the_dataset
from mmpointrend.errors import InputError


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

    def test_annotation_file_without_an_end(self, data, tmp_path):
        path = data / 'annotations.json'
        path.unlink()
        complaint = r'the annotation file .*annotations\.json is a pipe \(FIFO\): give a file\.'
        os.mkfifo(path)
        with pytest.raises(InputError, match=complaint):
            build('instance', data, tmp_path)
        with pytest.raises(InputError, match=complaint):
            CheckedCocoDataset(ann_file=str(path), metainfo=dict(classes=('disc',)))
        runner = object.__new__(CheckedRunner)
        with pytest.raises(InputError, match=complaint):
            runner.build_evaluator(dict(type='mmdet.CocoMetric', ann_file=str(path)))
        path.unlink()
        path.symlink_to('/dev/zero')
        with pytest.raises(InputError, match='is a device: give'):
            build('instance', data, tmp_path)

    def test_annotation_file_that_an_editor_has_marked(self, data, tmp_path):
        path = data / 'annotations.json'
        path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
        assert len(next(iter(build('instance', data, tmp_path)))['inputs']) == 2

    @pytest.mark.parametrize('width', [[64], '64', None])
    def test_odd_size_of_an_image_without_objects(self, width, data, tmp_path):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        image = dict(id='blank', file_name='0.png', height=64, width=width)
        path.write_text(json.dumps({**content, 'images': [image, *content['images']]}))
        with pytest.raises(
            InputError, match=r"image id 'blank' of .*annotations\.json has the size .* x 64: write"
        ):
            build('instance', data, tmp_path, filter_cfg=dict(min_size=1))
        assert build('instance', data, tmp_path, test_mode=True)

    @pytest.mark.parametrize(
        ('kind', 'key'), [('annotations', 'bbox'), ('images', 'file_name'), ('categories', 'name')]
    )
    def test_entry_that_lacks_a_key(self, kind, key, data, tmp_path):
        path = data / 'annotations.json'
        content = json.loads(path.read_text())
        del content[kind][1][key]
        path.write_text(json.dumps(content))
        with pytest.raises(
            InputError,
            match=rf'entry 1 of {kind} in .*annotations\.json lacks {key}: each of {kind} needs id, .*{key}',
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
