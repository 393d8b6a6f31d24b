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
