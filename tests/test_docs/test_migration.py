# Copyright (c) The mmpointrend authors.
"""The diffs of docs/migration.md, applied to mmdet's and mmseg's own files; its table against our config."""

import json
import re
from pathlib import Path

import mmdet
import mmseg
import pytest
import yaml
from mmengine.config import Config
from pages import blocks

from mmpointrend.engine.config_files import read_config
from mmpointrend.engine.detectron2 import build_empty, find_config
from mmpointrend.models import PointRendHead, PointRendRoIHead

MODEL = 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'
SOURCES = {
    'point-rend_r50-caffe_fpn_ms-1x_coco.py': (mmdet, 'point_rend'),
    'pointrend_r50.py': (mmseg, '_base_/models'),
}


def patched(text: str, diff: str) -> str:
    """A text after a diff without line numbers; every hunk has to fit in exactly one place."""
    hunks = re.split(r'^@@ @@\n', diff, flags=re.M)[1:]
    for hunk in hunks:
        lines = hunk.splitlines()
        old = '\n'.join(line[1:] for line in lines if not line.startswith('+')) + '\n'
        new = '\n'.join(line[1:] for line in lines if not line.startswith('-')) + '\n'
        assert text.count(old) == 1, hunk
        text = text.replace(old, new)
    return text


def apply(repo: Path, name: str) -> tuple[str, str]:
    """One of their files, and what the page's diff makes of it."""
    (diff,) = [d for d in blocks(repo / 'docs' / 'migration.md', 'diff') if f'+++ {name}\n' in d]
    package, folder = SOURCES[name]
    path = Path(package.__file__).parent / '.mim' / 'configs' / folder / name
    return path.read_text(), patched(path.read_text(), diff)


def test_mmdet(repo, tmp_path):
    name = 'point-rend_r50-caffe_fpn_ms-1x_coco.py'
    theirs, ours = apply(repo, name)
    configs = []
    for folder, text in (('theirs', theirs), ('ours', ours)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text.replace("'../mask_rcnn/", "'mmdet::mask_rcnn/"))
        configs.append(read_config(str(tmp_path / folder / name)))
    models = [build_empty(cfg) for cfg in configs]
    assert isinstance(models[1].roi_head, PointRendRoIHead)
    assert not isinstance(models[0].roi_head, PointRendRoIHead)
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1]


def test_mmseg(repo, tmp_path):
    theirs, ours = apply(repo, 'pointrend_r50.py')
    configs = []
    for name, text in (('theirs', theirs), ('ours', ours)):
        (tmp_path / f'{name}.py').write_text(f"default_scope = 'mmseg'\n{text}")
        configs.append(Config.fromfile(tmp_path / f'{name}.py'))
    models = [build_empty(cfg) for cfg in configs]
    assert isinstance(models[1].decode_head, PointRendHead)
    # Theirs is what the shipped config is, whose checkpoint names are translated.
    shipped = build_empty(find_config('pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024'))
    assert {k: v.shape for k, v in models[1].state_dict().items()} == {
        k: v.shape for k, v in shipped.state_dict().items()
    }
    assert sorted(
        map(tuple, (v.shape for v in models[0].decode_head.state_dict().values()))
    ) == sorted(map(tuple, (v.shape for v in models[1].decode_head.state_dict().values())))


def rows(repo: Path) -> list[tuple[str, str, float]]:
    page = (repo / 'docs' / 'migration.md').read_text()
    found = re.findall(r'^\| `(\w+\.\w+)` \| `(model\.[\w.]+)` \| ([\d.]+) \|$', page, re.M)
    assert len(found) == 10
    return [(theirs, ours, json.loads(value)) for theirs, ours, value in found]


def test_keys_of_detectron2_are_ours(repo):
    """Those of ``train_cfg`` and ``test_cfg`` stand in the config; of heads, what is left out is what is said."""
    cfg = find_config(MODEL)
    shapes = {k: v.shape for k, v in build_empty(cfg).state_dict().items()}
    for _, key, value in rows(repo):
        node = cfg
        *parents, name = key.split('.')
        for part in parents:
            node = node[part]
        assert node.get(name, value if 'roi_head' in key else None) == value, key
        node[name] = value
    assert {k: v.shape for k, v in build_empty(cfg).state_dict().items()} == shapes


def test_keys_of_detectron2_are_its_own(repo, shared_dir):
    text = (shared_dir / 'fixtures' / 'detectron2' / 'instance_r50.yaml').read_text()
    theirs = yaml.safe_load(text)['MODEL']
    for key, _, value in rows(repo):
        section, name = key.split('.')
        assert name in theirs[section]
        # The fixture has other widths and classes.
        if not re.search('DIM|CLASSES', name):
            assert theirs[section][name] == value


@pytest.mark.parametrize('name', SOURCES)
def test_diffs_name_their_files(repo, name):
    assert f'--- {name}\n+++ {name}\n' in (repo / 'docs' / 'migration.md').read_text()
