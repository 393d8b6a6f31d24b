# Copyright (c) The mmpointrend authors.
"""CamVid's labels behind mmseg's pipeline, against the files read by hand."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules
from PIL import Image

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


def build(root, split='val', **kwargs):
    """Builds the data set as a config of mmseg does."""
    register_all_modules(init_default_scope=True)
    return DATASETS.build(
        dict(
            type='mmpointrend.CamVidDataset',
            data_root=str(root),
            data_prefix=dict(img_path=split, seg_map_path=f'{split}annot'),
            pipeline=PIPELINE,
            **kwargs,
        )
    )


@pytest.fixture
def tiny(tmp_path):
    """One picture whose label map counts from 0 to 11."""
    labels = np.arange(12, dtype=np.uint8).repeat(2).reshape(4, 6)
    for folder in ('val', 'valannot'):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / 'val' / 'a.jpg')
    Image.fromarray(labels).save(tmp_path / 'valannot' / 'a.png')
    return tmp_path, labels


def test_void_becomes_255_and_the_classes_keep_their_labels(tiny):
    root, labels = tiny
    dataset = build(root)
    expected = np.where(labels == 11, 255, labels)
    np.testing.assert_array_equal(dataset[0]['data_samples'].gt_sem_seg.data[0], expected)
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11


def test_a_subset_of_the_classes(tiny):
    root, labels = tiny
    dataset = build(root, metainfo=dict(classes=('Car', 'Road')))
    expected = np.full(labels.shape, 255)
    expected[labels == 8], expected[labels == 3] = 0, 1
    np.testing.assert_array_equal(dataset[0]['data_samples'].gt_sem_seg.data[0], expected)
    assert dataset.metainfo['palette'] == [[64, 0, 128], [128, 64, 128]]
    with pytest.raises(ValueError, match='not a subset'):
        build(root, metainfo=dict(classes=('Car', 'Boat')))


@pytest.mark.parametrize(('split', 'count'), [('train', 367), ('val', 101)])
def test_the_real_files(shared_dir, split, count):
    root = shared_dir / 'data' / 'camvid'
    dataset = build(root, split)
    assert len(dataset) == count
    for index in (0, count // 2, count - 1):
        sample = dataset[index]['data_samples']
        labels = np.array(Image.open(sample.seg_map_path))
        found = sample.gt_sem_seg.data[0].numpy()
        assert found.shape == (360, 480)
        assert (labels == 11).any()
        np.testing.assert_array_equal(found == 255, labels == 11)
        np.testing.assert_array_equal(found[labels < 11], labels[labels < 11])
