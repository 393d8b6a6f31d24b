# Copyright (c) The mmpointrend authors.
"""Shapes: the same bytes again, a truth that pycocotools confirms, both tasks at one."""

import hashlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmdet.utils import register_all_modules as register_mmdet
from mmseg.registry import DATASETS as MMSEG_DATASETS
from mmseg.utils import register_all_modules as register_mmseg
from PIL import Image
from pycocotools.coco import COCO

from mmpointrend.datasets.shapes import CLASSES, PALETTE, render_scene, write_split
from mmpointrend.datasets.shapes.outlines import OUTLINES

SIZE = 160
COUNT = 12


@pytest.fixture(scope='module')
def written(tmp_path_factory) -> Path:
    """A small Shapes, written as the command does."""
    out = tmp_path_factory.mktemp('shapes')
    for split in ('train', 'val'):
        assert len(list(write_split(out, split, COUNT, SIZE, 3))) == COUNT
    return out


@pytest.fixture(scope='module')
def coco(written) -> COCO:
    """The instances of the training split, read by pycocotools."""
    return COCO(str(written / 'annotations' / 'instances_train.json'))


def digests(out: Path) -> dict[str, str]:
    """Digest of every file."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob('*'))
        if path.is_file()
    }


def test_the_command_writes_the_same_bytes_again_and_replaces_a_longer_run(repo, written, tmp_path):
    list(write_split(tmp_path, 'train', COUNT + 3, SIZE, 4))
    command = [sys.executable, str(repo / 'tools' / 'dataset_converters' / 'make_shapes.py')]
    size = ['--train', str(COUNT), '--val', str(COUNT), '--size', str(SIZE), '--seed', '3']
    subprocess.run([*command, str(tmp_path), *size], check=True, cwd=tmp_path, env=_env(repo))
    assert digests(tmp_path) == digests(written)


def test_the_command_refuses_in_a_sentence(repo, tmp_path, monkeypatch, capsys):
    command = repo / 'tools' / 'dataset_converters' / 'make_shapes.py'
    monkeypatch.setattr(sys, 'argv', [command.name, str(tmp_path), '--size', '16'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(command), run_name='__main__')
    assert ended.value.code == 2
    assert '--size must be at least 64, but got 16' in capsys.readouterr().err


def _env(repo: Path) -> dict[str, str]:
    """The environment with the repository importable."""
    return {**os.environ, 'PYTHONPATH': str(repo)}


def test_picture_i_does_not_depend_on_the_count(written, tmp_path):
    list(write_split(tmp_path, 'train', 4, SIZE, 3))
    few, many = digests(tmp_path), digests(written)
    assert all(many[name] == digest for name, digest in few.items() if 'annotations' not in name)
    records = [
        json.loads((out / 'annotations' / 'instances_train.json').read_text())['annotations']
        for out in (tmp_path, written)
    ]
    assert records[0] == [record for record in records[1] if record['image_id'] <= 4]


def test_splits_seeds_and_pictures_differ():
    keys = [(0, 'train', 0), (0, 'train', 1), (0, 'val', 0), (1, 'train', 0)]
    images = [render_scene(seed, split, i, SIZE).image.tobytes() for seed, split, i in keys]
    assert len(set(images)) == len(keys)


def test_area_and_box_are_those_of_the_mask_that_pycocotools_draws(coco):
    assert len(coco.anns) > 3 * COUNT
    for record in coco.anns.values():
        mask = coco.annToMask(record)
        y, x = np.nonzero(mask)
        assert record['area'] == mask.sum() > 0
        assert record['bbox'] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert record['iscrowd'] == 0


def test_rle_where_there_is_a_hole_and_polygons_where_there_is_none(coco):
    kinds = set()
    for record in coco.anns.values():
        mask = coco.annToMask(record)
        _, parts = cv2.connectedComponents(1 - mask, connectivity=4)
        rim = set(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]).tolist())
        holes = [np.sum(parts == i) for i in range(1, parts.max() + 1) if i not in rim]
        kinds.add(type(record['segmentation']))
        if isinstance(record['segmentation'], list):
            assert max(holes, default=0) <= 4  # no more than rounding leaves between two limbs
        else:
            assert holes
    assert kinds == {list, dict}


def test_both_tasks_agree(coco, written):
    for image_id, image in coco.imgs.items():
        labels = np.zeros((SIZE, SIZE), int)
        claims = np.zeros((SIZE, SIZE), int)
        numbers = np.zeros((SIZE, SIZE), np.uint8)
        for number, record in enumerate(coco.imgToAnns[image_id], start=1):
            mask = coco.annToMask(record).astype(bool)
            labels[mask], numbers[mask] = record['category_id'], number
            claims += mask
        name = image['file_name'].replace('.jpg', '.png')
        semantic = np.array(Image.open(written / 'semantic_train' / name))
        # Rounding may differ at the edge of an object; elsewhere the two are the same.
        changes = [
            cv2.morphologyEx(m, cv2.MORPH_GRADIENT, np.ones((3, 3))) for m in (numbers, semantic)
        ]
        edges = np.maximum(*changes) > 0
        assert not ((labels != semantic) & ~edges).any()
        assert (labels != semantic).mean() < 0.01
        assert (claims > 1).mean() < 0.002  # visible parts do not overlap


def test_every_class_and_every_size_occurs():
    scenes = [render_scene(0, 'train', i, 192) for i in range(60)]
    instances = [instance for scene in scenes for instance in scene.instances]
    assert {instance.label for instance in instances} == set(range(len(CLASSES)))
    extents = [np.ptp(np.nonzero(i.mask), axis=1).max() + 1 for i in instances]
    assert min(extents) <= 20
    assert max(extents) >= 0.75 * 192
    assert all(2 <= len(scene.instances) <= 7 for scene in scenes)


def test_pictures_are_anti_aliased_and_textured():
    image = render_scene(0, 'train', 2, 256).image
    assert image.shape == (256, 256, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 5000


@pytest.mark.parametrize('name', CLASSES)
@pytest.mark.parametrize('detail', [8.0, 30.0, 200.0])
def test_outlines_stay_in_their_frame(name, detail):
    for seed in range(20):
        outline = OUTLINES[name](np.random.default_rng(seed), detail)
        vertices = np.concatenate(outline.solids + outline.holes)
        assert np.abs(vertices).max() <= 1 + 1e-9
        assert np.ptp(np.concatenate(outline.solids), axis=0).max() > 1.9


@pytest.mark.parametrize(('split', 'size', 'word'), [('test', 64, 'split'), ('val', 63, 'size')])
def test_a_scene_that_cannot_be_is_refused(split, size, word):
    with pytest.raises(ValueError, match=f'{word} must be'):
        render_scene(0, split, 0, size)


def test_mmdet_reads_the_instances(written, coco):
    register_mmdet(init_default_scope=True)
    dataset = MMDET_DATASETS.build(
        dict(
            type='mmpointrend.ShapesInstanceDataset',
            data_root=str(written),
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='PackDetInputs'),
            ],
        )
    )
    assert len(dataset) == COUNT
    for item in (dataset[0], dataset[COUNT - 1]):
        truth = item['data_samples'].gt_instances
        records = coco.imgToAnns[item['data_samples'].img_id]
        assert [CLASSES[i] for i in truth.labels] == [
            coco.cats[r['category_id']]['name'] for r in records
        ]
        assert truth.masks.masks.sum((1, 2)).tolist() == [r['area'] for r in records]


def test_mmseg_reads_the_label_maps(written):
    register_mmseg(init_default_scope=True)
    dataset = MMSEG_DATASETS.build(
        dict(
            type='mmpointrend.ShapesSemanticDataset',
            data_root=str(written),
            data_prefix=dict(img_path='val', seg_map_path='semantic_val'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ],
        )
    )
    assert len(dataset) == COUNT
    assert dataset.metainfo['classes'] == ('background', *CLASSES)
    sample = dataset[5]
    scene = render_scene(3, 'val', 5, SIZE)
    np.testing.assert_array_equal(sample['data_samples'].gt_sem_seg.data[0], scene.semantic)
    error = np.abs(sample['inputs'].numpy().transpose(1, 2, 0) - scene.image.astype(float))
    assert error.mean() < 6  # what JPEG takes
    colours = Image.open(written / 'semantic_val' / '000005.png').convert('RGB')
    np.testing.assert_array_equal(np.array(colours), np.array(PALETTE)[scene.semantic])


def test_one_class_changes_labels_alone(tmp_path):
    for one_class in (False, True):
        list(write_split(tmp_path / str(one_class), 'val', 3, SIZE, 0, one_class=one_class))
    many, one = (tmp_path / 'False', tmp_path / 'True')
    truth = json.loads((one / 'annotations/instances_val.json').read_text())
    assert truth['categories'] == [{'id': 1, 'name': 'object'}]
    assert {a['category_id'] for a in truth['annotations']} == {1}
    for index in range(3):
        name = f'{index:06d}'
        assert (one / f'val/{name}.jpg').read_bytes() == (many / f'val/{name}.jpg').read_bytes()
        labels = [np.asarray(Image.open(p / f'semantic_val/{name}.png')) for p in (many, one)]
        np.testing.assert_array_equal(labels[1], labels[0] > 0)


def test_plain_objects_are_vivid_on_grey_ground():
    for index in range(5):
        scene = render_scene(0, 'val', index, 192, plain=True)
        saturation = cv2.cvtColor(scene.image, cv2.COLOR_BGR2HSV)[..., 1] / 255
        inside = cv2.erode((scene.semantic > 0).astype(np.uint8), np.ones((3, 3))) > 0
        outside = cv2.dilate((scene.semantic > 0).astype(np.uint8), np.ones((9, 9))) == 0
        assert np.median(saturation[outside]) < 0.2 < 0.4 < np.median(saturation[inside])
