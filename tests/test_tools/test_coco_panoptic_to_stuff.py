# Copyright (c) The mmpointrend authors.
"""The label maps of stuff, made of a panoptic file by the command and read by the dataset's pipeline."""

import json
import os
import runpy
import sys

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

# Ids of COCO panoptic 2017: person and toothbrush are things, banner the first stuff class, rug-merged the last.
CATEGORIES = [
    dict(id=1, name='person', isthing=1),
    dict(id=90, name='toothbrush', isthing=1),
    dict(id=92, name='banner', isthing=0),
    dict(id=200, name='rug-merged', isthing=0),
]
# Each pixel's segment as (red, green, blue); black is no segment, and the last one is in no list.
COLOURS = [
    [(7, 0, 0), (7, 0, 0), (0, 2, 0)],
    [(0, 0, 3), (1, 2, 3), (0, 0, 0)],
    [(0, 0, 3), (1, 2, 3), (9, 9, 9)],
]
SEGMENTS = [
    dict(id=7, category_id=90),
    dict(id=2 * 256, category_id=92),
    dict(id=3 * 65536, category_id=200),
    dict(id=1 + 2 * 256 + 3 * 65536, category_id=1),
]
EXPECTED = [[0, 0, 1], [53, 0, 255], [53, 0, 255]]


@pytest.fixture
def panoptic(tmp_path):
    """Folder with one image, its panoptic map and the annotation file."""
    for folder in ('images', 'panoptic'):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(tmp_path / 'images' / 'a.jpg')
    Image.fromarray(np.array(COLOURS, np.uint8)).save(tmp_path / 'panoptic' / 'a.png')
    write(tmp_path, CATEGORIES)
    return tmp_path


def write(root, categories):
    """Writes the annotation file."""
    annotation = dict(image_id=1, file_name='a.png', segments_info=SEGMENTS)
    content = dict(images=[], annotations=[annotation], categories=categories)
    (root / 'panoptic.json').write_text(json.dumps(content))


def convert(repo, root, monkeypatch, *options):
    """Runs the command in this process."""
    tool = repo / 'tools' / 'dataset_converters' / 'coco_panoptic_to_stuff.py'
    paths = [root / 'panoptic.json', root / 'panoptic', root / 'stuff']
    monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, paths), *options])
    runpy.run_path(str(tool), run_name='__main__')


def test_things_stuff_and_void_as_the_dataset_reads_them(repo, panoptic, monkeypatch):
    convert(repo, panoptic, monkeypatch)
    dataset = DATASETS.build(
        dict(
            type='mmpointrend.CocoPanopticStuffDataset',
            data_root=str(panoptic),
            data_prefix=dict(img_path='images', seg_map_path='stuff'),
            pipeline=[
                dict(type='mmseg.LoadAnnotations'),
            ],
        )
    )
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], EXPECTED)
    classes, palette = dataset.metainfo['classes'], dataset.metainfo['palette']
    assert len(classes) == len(palette) == 54
    assert (classes[0], classes[1], classes[53]) == ('things', 'banner', 'rug-merged')


def test_several_processes(repo, panoptic, monkeypatch):
    convert(repo, panoptic, monkeypatch, '--workers', '2')
    np.testing.assert_array_equal(np.asarray(Image.open(panoptic / 'stuff' / 'a.png')), EXPECTED)


def test_what_cannot_be_converted_is_named(repo, panoptic, monkeypatch):
    write(panoptic, [*CATEGORIES, dict(id=201, name='lava', isthing=0)])
    with pytest.raises(SystemExit, match='stuff categories lava are none'):
        convert(repo, panoptic, monkeypatch)
    write(panoptic, CATEGORIES)
    (panoptic / 'panoptic' / 'a.png').write_bytes(b'')
    with pytest.raises(SystemExit, match=r'panoptic/a\.png cannot be read'):
        convert(repo, panoptic, monkeypatch)
    with pytest.raises(SystemExit, match=r'panoptic/a\.png cannot be read'):
        convert(repo, panoptic, monkeypatch, '--workers', '2')
    write(panoptic, CATEGORIES[:2])
    for content in (None, '[]', '{"annotations": [], "categories": []}', '{"categories": [{}]}'):
        # First the one that names a category which it does not have.
        if content is not None:
            (panoptic / 'panoptic.json').write_text(content)
        with pytest.raises(SystemExit, match=r'panoptic\.json is no COCO panoptic file'):
            convert(repo, panoptic, monkeypatch)
    write(panoptic, CATEGORIES)
    Image.fromarray(np.array(COLOURS, np.uint8)).save(panoptic / 'panoptic' / 'a.png')
    (panoptic / 'stuff').touch()
    with pytest.raises(SystemExit, match=r'stuff/a\.png cannot be written'):
        convert(repo, panoptic, monkeypatch)


def rename(root, name):
    """Gives the only map another name in the annotation file."""
    content = json.loads((root / 'panoptic.json').read_text())
    content['annotations'][0]['file_name'] = name
    (root / 'panoptic.json').write_text(json.dumps(content))


@pytest.mark.parametrize('kind', ['dots', 'absolute', 'link in the target', 'link in the source'])
def test_names_stay_in_their_folders(kind, repo, panoptic, monkeypatch):
    victim = panoptic / 'victim.png'
    victim.write_bytes((panoptic / 'panoptic' / 'a.png').read_bytes())
    before = victim.read_bytes()
    (panoptic / 'stuff').mkdir()
    if kind == 'link in the target':
        (panoptic / 'stuff' / 'a.png').symlink_to(victim)
    elif kind == 'link in the source':
        (panoptic / 'panoptic' / 'a.png').unlink()
        (panoptic / 'panoptic' / 'a.png').symlink_to(victim)
    else:
        rename(panoptic, '../victim.png' if kind == 'dots' else str(victim))
    for options in ((), ('--workers', '2')):
        with pytest.raises(SystemExit, match=r'error: the file name .* leads'):
            convert(repo, panoptic, monkeypatch, *options)
    assert victim.read_bytes() == before
    assert not [path for path in (panoptic / 'stuff').iterdir() if not path.is_symlink()]


def test_folders_in_names_and_a_target_that_is_a_link(repo, panoptic, monkeypatch):
    (panoptic / 'panoptic' / 'part').mkdir()
    (panoptic / 'panoptic' / 'a.png').rename(panoptic / 'panoptic' / 'part' / 'a.png')
    rename(panoptic, 'part/a.png')
    (panoptic / 'disk').mkdir()
    (panoptic / 'stuff').symlink_to(panoptic / 'disk')
    convert(repo, panoptic, monkeypatch)
    written = np.asarray(Image.open(panoptic / 'disk' / 'part' / 'a.png'))
    np.testing.assert_array_equal(written, EXPECTED)


@pytest.mark.parametrize(
    ('name', 'complaint'),
    [
        ('a.sh', "'a.sh' is not of a PNG file"),
        (7, '7 in place of a file name'),
        ('pipe.png', r'pipe.png is a pipe \(FIFO\)'),
        ('b.png', 'b.png does not exist'),
    ],
)
def test_other_names(name, complaint, repo, panoptic, monkeypatch):
    os.mkfifo(panoptic / 'panoptic' / 'pipe.png')
    rename(panoptic, name)
    with pytest.raises(SystemExit, match=complaint):
        convert(repo, panoptic, monkeypatch)


def test_panoptic_maps_are_not_overwritten(repo, panoptic, monkeypatch):
    (panoptic / 'stuff').symlink_to(panoptic / 'panoptic')
    with pytest.raises(SystemExit, match='holds the panoptic maps, which would be overwritten'):
        convert(repo, panoptic, monkeypatch)
