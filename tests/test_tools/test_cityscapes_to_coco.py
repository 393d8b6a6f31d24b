# Copyright (c) The mmpointrend authors.
"""The Cityscapes converter on a made-up tree, against cityscapesscripts' own rasteriser."""

import json
import sys
from collections import Counter

import cv2
import numpy as np
import pytest
from mmdet.datasets import CityscapesDataset
from pycocotools.coco import COCO
from tiny_runs import run_converter

rasteriser = pytest.importorskip('cityscapesscripts.preparation.json2instanceImg')
WIDTH, HEIGHT = 300, 200
# In the order in which they are drawn: later ones hide earlier ones.
OBJECTS = [
    ('road', [[0, 0], [299, 0], [299, 199], [0, 199]]),
    ('car', [[20, 20], [150, 30], [140, 120], [15, 100]]),
    ('person', [[60, 10], [80, 10], [80, 130], [60, 130]]),  # cuts the car in two
    ('train', [[160, 20], [290, 20], [290, 100], [160, 100]]),
    ('static', [[200, 40], [230, 45], [225, 70], [195, 60]]),  # a hole in the train
    ('bicyclegroup', [[20, 140], [120, 140], [120, 190], [20, 190]]),
    ('caravan', [[150, 120], [200, 120], [200, 190]]),  # has instances, is not evaluated
    ('truck', [[210, 120], [290, 120], [290, 190], [210, 190]]),
    ('bus', [[205, 115], [299, 115], [299, 199], [205, 199]]),  # hides the truck
    ('license plate', [[215, 120], [225, 120], [225, 125]]),  # is not drawn
    ('rider', [[130, 150], [145, 180], [145, 150], [130, 180]]),  # crosses itself
]


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """A training and a validation image."""
    root = tmp_path_factory.mktemp('cityscapes')
    for split, city in (('train', 'aachen'), ('val', 'ulm')):
        folder = root / 'gtFine' / split / city
        folder.mkdir(parents=True)
        path = folder / f'{city}_000000_000019_gtFine_polygons.json'
        objects = [dict(label=label, polygon=polygon) for label, polygon in OBJECTS]
        objects.insert(5, dict(label='car', polygon=[[0, 0], [90, 0], [90, 90]], deleted=1))
        path.write_text(json.dumps(dict(imgWidth=WIDTH, imgHeight=HEIGHT, objects=objects)))
        annotation = rasteriser.Annotation()
        annotation.fromJsonFile(str(path))
        ids = np.array(rasteriser.createInstanceImage(annotation, 'ids')).astype(np.uint16)
        cv2.imwrite(str(path).replace('polygons.json', 'instanceIds.png'), ids)
    return root


@pytest.fixture(scope='module', params=['polygons', 'rle'])
def converted(request, tree, tmp_path_factory):
    """Folder of the two json files."""
    out = tmp_path_factory.mktemp(request.param)
    options = ['--rle'] if request.param == 'rle' else []
    run_converter('cityscapes_to_coco', tree, '--out-dir', out, *options)
    return out


def test_masks_are_what_is_seen_of_each_object(converted, tree):
    coco = COCO(str(converted / 'instancesonly_filtered_gtFine_val.json'))
    path = tree / 'gtFine/val/ulm/ulm_000000_000019_gtFine_instanceIds.png'
    ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    evaluated = {n for n in np.unique(ids).tolist() if (n // 1000 or n) in set(coco.getCatIds())}
    assert evaluated == {24000, 25000, 26000, 28000, 31000, 33}
    found = Counter()
    for annotation in coco.anns.values():
        number, crowd = annotation['category_id'], annotation['iscrowd']
        expected = ids == (number if crowd else 1000 * number)
        mask = coco.annToMask(annotation).astype(bool)
        found[number] += 1
        if isinstance(annotation['segmentation'], dict):
            np.testing.assert_array_equal(mask, expected)
            assert annotation['area'] == expected.sum()
        else:
            # The outline is drawn in whole pixels: what differs lies within a pixel of it.
            rim = cv2.morphologyEx(
                expected.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
            )
            assert not (mask ^ expected)[rim == 0].any()
            assert abs(annotation['area'] - expected.sum()) < 0.15 * rim.sum()
        rows, columns = np.nonzero(expected)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        np.testing.assert_allclose(annotation['bbox'], box, atol=1.2)
    assert found == Counter([24, 25, 26, 28, 31, 33])


def test_mmdet_reads_it(converted, tree):
    dataset = CityscapesDataset(
        ann_file=str(converted / 'instancesonly_filtered_gtFine_train.json'),
        data_prefix=dict(img=str(tree / 'leftImg8bit' / 'train')),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[],
    )
    info = dataset.get_data_info(0)
    assert info['img_path'].endswith('train/aachen/aachen_000000_000019_leftImg8bit.png')
    classes = [dataset.metainfo['classes'][i['bbox_label']] for i in info['instances']]
    assert sorted(classes) == ['bicycle', 'bus', 'car', 'person', 'rider', 'train']
    ignored = [c for c, i in zip(classes, info['instances'], strict=True) if i['ignore_flag']]
    assert ignored == ['bicycle']


def test_says_what_it_wrote_where_mmdet_looks_for_it(tree, capsys):
    run_converter('cityscapes_to_coco', tree)
    assert capsys.readouterr().out.splitlines() == [
        f'{tree}/annotations/instancesonly_filtered_gtFine_{split}.json: 1 images, 6 instances, '
        '1 of them groups'
        for split in ('train', 'val')
    ]  # fmt: skip


def test_what_is_wrong_is_said(tmp_path, monkeypatch):
    folder = tmp_path / 'gtFine' / 'val'
    with pytest.raises(SystemExit, match=rf'in {folder}: unpack gtFine'):
        run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    broken = folder / 'ulm' / 'ulm_0_0_gtFine_polygons.json'
    broken.parent.mkdir(parents=True)
    for content in ('{"imgWidth": 3}', '[]', '{"imgWidth": 3, "imgHeight": 3}'):
        broken.write_text(content)
        with pytest.raises(SystemExit, match=f'{broken} is damaged or no polygon file'):
            run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    image = broken.with_name('ulm_0_0_gtFine_instanceIds.png')
    for ids, message in (
        (np.full((3, 3), 60001, np.uint16), 'no label of id 60001'),
        (np.full((3, 3, 3), 26, np.uint8), 'no image of ids'),
    ):
        cv2.imwrite(str(image), ids)
        with pytest.raises(SystemExit, match=message):
            run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val', '--rle')
    objects = [dict(label='hovercar', polygon=[[0, 0], [9, 0], [9, 9]])]
    broken.write_text(json.dumps(dict(imgWidth=20, imgHeight=20, objects=objects)))
    with pytest.raises(SystemExit, match="Cityscapes has no label 'hovercar'"):
        run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    for point, message in (
        ([float('nan'), 0], 'has a point that is no number'),
        ([float('inf'), 0], 'has a point that is no number'),
        (['a', 'b'], 'is damaged or no polygon file'),
        ([[1, 2], [3]], 'is damaged or no polygon file'),
    ):
        objects = [dict(label='car', polygon=[point, [9, 0], [9, 9]])]
        broken.write_text(json.dumps(dict(imgWidth=20, imgHeight=20, objects=objects)))
        with pytest.raises(SystemExit, match=message):
            run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    for sides in (dict(imgWidth='20'), dict(imgHeight=[3]), dict(imgWidth=0), dict(imgHeight=2.5)):
        broken.write_text(json.dumps(dict(dict(imgWidth=20, imgHeight=20, objects=[]), **sides)))
        with pytest.raises(
            SystemExit, match=r'imgWidth and imgHeight are .*: write whole numbers of'
        ):
            run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    objects = [dict(label='car', polygon=[[10**400, 0], [9, 0], [9, 9]])]
    broken.write_text(json.dumps(dict(imgWidth=20, imgHeight=20, objects=objects)))
    with pytest.raises(SystemExit, match='is damaged or no polygon file'):
        run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    broken.write_text('[' * 100_000)
    with pytest.raises(SystemExit, match=f'{broken} is damaged or no polygon file'):
        run_converter('cityscapes_to_coco', tmp_path, '--splits', 'val')
    monkeypatch.setitem(sys.modules, 'cityscapesscripts.helpers.labels', None)
    with pytest.raises(SystemExit, match=r'pip install "mmpointrend\[cityscapes\]"'):
        run_converter('cityscapes_to_coco', tmp_path)
    assert not (tmp_path / 'annotations').exists()
