# Copyright (c) The mmpointrend authors.
"""The one-class COCO converter, run as a user runs it, against pycocotools' reading of its file."""

import json
import subprocess
import sys

import pytest
from pycocotools.coco import COCO
from tiny_runs import run_converter

SOURCE = dict(
    info=dict(year=2017),
    images=[dict(id=7, file_name='a.jpg', height=20, width=30)],
    categories=[dict(id=3, name='car'), dict(id=90, name='toothbrush')],
    annotations=[
        dict(id=1, image_id=7, category_id=90, iscrowd=0, area=12.5, bbox=[1, 2, 5, 5],
             segmentation=[[1, 2, 6, 2, 6, 7]]),
        dict(id=2, image_id=7, category_id=3, iscrowd=1, area=4, bbox=[0, 0, 2, 2],
             segmentation=dict(size=[20, 30], counts=[0, 2, 18, 2, 578])),
    ],
)  # fmt: skip


def convert(repo, source, target, *options):
    """Runs the command."""
    command = [sys.executable, repo / 'tools' / 'dataset_converters' / 'coco_to_one_class.py']
    return subprocess.run([*command, source, target, *options], capture_output=True, text=True)


def test_one_category_and_all_else_as_it_was(repo, tmp_path):
    source, target = tmp_path / 'in.json', tmp_path / 'new' / 'out.json'
    source.write_text(json.dumps(SOURCE))
    done = convert(repo, source, target, '--name', 'thing')
    assert done.returncode == 0, done.stderr
    coco = COCO(str(target))
    assert [(c['id'], c['name']) for c in coco.loadCats(coco.getCatIds())] == [(1, 'thing')]
    assert coco.getAnnIds(catIds=[1]) == [1, 2]
    assert coco.loadImgs(7) == SOURCE['images']
    assert coco.annToMask(coco.anns[2]).sum() == 4
    for expected in SOURCE['annotations']:
        assert coco.anns[expected['id']] == expected | dict(category_id=1)
    assert json.loads(source.read_text()) == SOURCE


def test_what_is_no_instances_file_is_refused(repo, tmp_path):
    source = tmp_path / 'captions.json'
    source.write_text(json.dumps(dict(images=[], annotations=[])))
    done = convert(repo, source, tmp_path / 'out.json')
    assert done.returncode == 2
    assert 'captions.json: this is no COCO instances file: it has no categories' in done.stderr
    assert not (tmp_path / 'out.json').exists()


def test_what_would_end_in_a_traceback(tmp_path, capsys):
    source = tmp_path / 'in.json'
    for content, complaint in (
        ('[' * 100_000, 'is nested too deeply'),
        ('[]', 'it has no images, annotations, categories'),
        (json.dumps(SOURCE | dict(annotations=[7])), 'it has no annotations'),
    ):
        source.write_text(content)
        with pytest.raises(SystemExit):
            run_converter('coco_to_one_class', source, tmp_path / 'out.json')
        assert complaint in capsys.readouterr().err
    source.write_text(json.dumps(SOURCE))
    with pytest.raises(SystemExit):
        run_converter('coco_to_one_class', source, tmp_path)
    assert f'{tmp_path} cannot be written' in capsys.readouterr().err
