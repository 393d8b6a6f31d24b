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


def test_takes_the_images_of_a_list(repo, tmp_path):
    images = [dict(SOURCE['images'][0], id=number) for number in (7, 8, 9)]
    annotations = [dict(SOURCE['annotations'][0], id=n, image_id=n) for n in (9, 7, 8)]
    source, target, ids = (tmp_path / name for name in ('in.json', 'out.json', 'ids.yml'))
    source.write_text(json.dumps(SOURCE | dict(images=images, annotations=annotations)))
    ids.write_text('[9, 7]\n')
    done = convert(repo, source, target, '--images', ids)
    assert done.stdout == f"{target}: 2 images, 2 annotations of 'object'\n", done.stderr
    content = json.loads(target.read_text())
    assert [image['id'] for image in content['images']] == [9, 7]
    assert [annotation['image_id'] for annotation in content['annotations']] == [9, 7]
    for text, wanted in (
        ('[9, 10]', '1 of 2 images are not there, such as id 10'),
        ('7', 'a list'),
    ):
        ids.write_text(text)
        done = convert(repo, source, target, '--images', ids)
        assert done.returncode == 2 and wanted in done.stderr


@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_lists_of_the_mini_recipes_are_their_images(repo, shared_dir, tmp_path, split):
    """Of a file with others between, as the whole COCO file is."""
    part = json.loads((shared_dir / f'data/coco_multi/instances_{split}2017.json').read_text())
    other = dict(part['images'][0], id=-1)
    whole = part | dict(images=[other, *reversed(part['images'])])
    (tmp_path / 'whole.json').write_text(json.dumps(whole))
    ids = repo / 'configs' / 'mini' / f'coco_images_{split}2017.yml'
    done = convert(repo, tmp_path / 'whole.json', tmp_path / 'out.json', '--images', ids)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / 'out.json').read_text())['images'] == part['images']
