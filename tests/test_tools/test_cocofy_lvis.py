# Copyright (c) The mmpointrend authors.
"""The LVIS converter, run as a user runs it, against pycocotools' reading of its file."""

import json

import pytest
from pycocotools.coco import COCO
from tiny_runs import run_converter


def test_counts_of_100_images(shared_dir, tmp_path, capsys):
    target = tmp_path / 'new' / 'cocofied.json'
    source = shared_dir / 'fixtures' / 'lvis' / 'lvis_val_100.json'
    run_converter('cocofy_lvis', source, target)
    assert capsys.readouterr().out == (
        f'{target}: LVIS v0.5, 100 images, 435 annotations, 69 categories (57 with ground truth), '
        '81 negatives, 6 not exhaustive\n'
    )
    coco = COCO(str(target))
    assert len(coco.getAnnIds(catIds=coco.getCatIds())) == 435
    people = coco.loadCats(coco.getCatIds(catNms=['person']))
    assert [category['id'] for category in people] == [1]


def test_what_is_no_lvis_file_is_refused(tmp_path):
    source = tmp_path / 'captions.json'
    source.write_text(json.dumps(dict(images=[], annotations=[])))
    with pytest.raises(
        SystemExit, match=r'captions\.json: this is no LVIS file: it has no list of'
    ):
        run_converter('cocofy_lvis', source, tmp_path / 'out.json')
    assert not (tmp_path / 'out.json').exists()


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (dict(coco_url='http://coco/val2017/..'), r"the coco_url '.*/\.\.' names no image"),
        (dict(coco_url=7), 'coco_url in images is 7'),
        (dict(neg_category_ids='a'), "neg_category_ids in images is 'a'"),
    ],
)
def test_odd_values_are_refused(change, complaint, tmp_path):
    image = dict(id=1, coco_url='http://coco/val2017/1.jpg', neg_category_ids=[])
    image |= dict(not_exhaustive_category_ids=[]) | change
    source = tmp_path / 'lvis.json'
    source.write_text(json.dumps(dict(images=[image], annotations=[], categories=[])))
    with pytest.raises(SystemExit, match=complaint):
        run_converter('cocofy_lvis', source, tmp_path / 'out.json')


def test_deep_json_is_refused(tmp_path):
    (tmp_path / 'deep.json').write_text('[' * 100_000)
    with pytest.raises(SystemExit, match=r'deep\.json is nested too deeply'):
        run_converter('cocofy_lvis', tmp_path / 'deep.json', tmp_path / 'out.json')
