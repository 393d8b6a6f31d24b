# Copyright (c) The mmpointrend authors.
"""LVIS in COCO's categories, against LVIS's own table and counts of its fixture."""

import json

import pytest

from mmpointrend.errors import InputError
from mmpointrend.evaluation.cocofy import COCO_CATEGORIES, cocofy, lvis_version

URL = 'http://images.cocodataset.org'


def test_the_table_is_lvis_own_and_covers_coco(shared_dir):
    table = json.loads((shared_dir / 'fixtures' / 'lvis' / 'coco_to_synset.json').read_text())
    assert {
        name: (row['coco_cat_id'], row['synset']) for name, row in table.items()
    } == COCO_CATEGORIES
    coco = json.loads((shared_dir / 'fixtures/cocoapi/instances_val2014_100.json').read_text())
    assert {(c['name'], c['id']) for c in coco['categories']} == {
        (name, number) for name, (number, _) in COCO_CATEGORIES.items()
    }


def test_counts_of_100_images_of_v05(shared_dir):
    content = json.loads((shared_dir / 'fixtures' / 'lvis' / 'lvis_val_100.json').read_text())
    cocofied = cocofy(content)
    assert len(cocofied['images']) == 100
    assert len(cocofied['annotations']) == 435
    assert len(cocofied['categories']) == 69
    assert len({annotation['category_id'] for annotation in cocofied['annotations']}) == 57
    assert sum(len(image['neg_category_ids']) for image in cocofied['images']) == 81
    assert sum(len(i['not_exhaustive_category_ids']) for i in cocofied['images']) == 6
    assert cocofied['cocofied_from'] == lvis_version(content) == 'v0.5'
    assert cocofy(cocofied) == cocofied
    # All of LVIS v0.5's 1,230 categories are in this file, 78 of COCO's among them.
    synsets = {category['synset'] for category in content['categories']}
    lacking = {name for name, (_, synset) in COCO_CATEGORIES.items() if synset not in synsets}
    assert len(content['categories']) == 1230 and lacking == {'hot dog', 'oven'}


def test_ids_names_and_lists_are_all_mapped():
    content = dict(
        categories=[
            dict(id=5, name='sofa', synset='sofa.n.01', frequency='f'),
            dict(id=9, name='aerosol can', synset='aerosol.n.02', frequency='c'),
            dict(id=7, name='toothbrush', synset='toothbrush.n.01', frequency='f'),
            dict(id=8, name='cat', synset='cat.n.01', frequency='f'),
            dict(id=6, name='dog', synset='dog.n.01', frequency='f'),
        ],
        images=[
            dict(
                id=1, coco_url=f'{URL}/val2017/000000000001.jpg', file_name='COCO_val2014_1.jpg',
                neg_category_ids=[9, 7], not_exhaustive_category_ids=[8, 9],
            )
        ],
        annotations=[
            dict(id=11, image_id=1, category_id=5, area=4.0),
            dict(id=12, image_id=1, category_id=9, area=5.0),
        ],
    )  # fmt: skip
    before = json.dumps(content)
    cocofied = cocofy(content)
    assert json.dumps(content) == before
    image = dict(id=1, coco_url=f'{URL}/val2017/000000000001.jpg', file_name='000000000001.jpg')
    assert cocofied['images'] == [
        image | dict(neg_category_ids=[90], not_exhaustive_category_ids=[17])
    ]
    assert cocofied['annotations'] == [dict(id=11, image_id=1, category_id=63, area=4.0)]
    # COCO's names; the dog occurs nowhere.
    assert [(c['id'], c['name']) for c in cocofied['categories']] == [
        (17, 'cat'), (63, 'couch'), (90, 'toothbrush'),
    ]  # fmt: skip


def v1(*folders: str) -> dict:
    """LVIS v1 with a car in one image of each folder, and 79 of COCO's categories as negatives."""
    synsets = [s for name, (_, s) in COCO_CATEGORIES.items() if name != 'hot dog']
    return dict(
        categories=[dict(id=i, synset=s, frequency='f') for i, s in enumerate(synsets)],
        images=[
            dict(
                id=i,
                coco_url=f'{URL}/{folder}/{i:012d}.jpg',
                neg_category_ids=list(range(79)),
                not_exhaustive_category_ids=[],
            )
            for i, folder in enumerate(folders)
        ],
        annotations=[dict(id=i, image_id=i, category_id=2) for i in range(len(folders))],
    )


def test_of_v1_only_images_of_val2017_are_kept():
    cocofied = cocofy(v1('train2017', 'val2017', 'train2017', 'val2017'))
    assert cocofied['cocofied_from'] == 'v1'
    assert [image['file_name'] for image in cocofied['images']] == [
        '000000000001.jpg', '000000000003.jpg',
    ]  # fmt: skip
    assert [a['image_id'] for a in cocofied['annotations']] == [1, 3]
    assert {a['category_id'] for a in cocofied['annotations']} == {3}
    assert len(cocofied['categories']) == 79
    # It has file names now, but it still is v1.
    assert lvis_version(cocofied) == 'v1' and cocofy(cocofied) == cocofied
    with pytest.raises(InputError, match='none of its images is one of COCO val2017'):
        cocofy(v1('train2017'))


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        ([], 'it has no list of images'),
        (dict(images=[], annotations=[]), 'it has no list of categories'),
        (
            dict(
                images=[dict(id=1, coco_url='')], annotations=[], categories=[dict(id=1, synset='')]
            ),
            'neg_category_ids, not_exhaustive_category_ids is missing in images',
        ),
        (
            dict(
                images=[
                    dict(
                        id=1,
                        coco_url='',
                        neg_category_ids=None,
                        not_exhaustive_category_ids=[],
                    )
                ],
                annotations=[],
                categories=[],
            ),
            'neg_category_ids in images is None',
        ),
    ],
)
def test_what_is_not_lvis_is_refused(content, complaint):
    with pytest.raises(InputError, match=complaint):
        cocofy(content)
