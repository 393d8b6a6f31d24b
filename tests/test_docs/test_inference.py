# Copyright (c) The mmpointrend authors.
"""Every block of docs/inference.md runs, with models as the demo leaves them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmpointrend.apis import PointRendInferencer
from mmpointrend.checkpoints.saving import save_model
from mmpointrend.cli import main
from mmpointrend.engine.config_files import read_config

MODELS_OF_DEMO = {
    'mask_pointrend': 'pointrend_mask-rcnn_r18-w16_fpn_1xb4-600i_shapes',
    'semantic_pointrend': 'pointrend_fpn-p3-p5_r18-w16_1xb4-150i_shapes',
}


@pytest.fixture(scope='module')
def page(repo):
    return (repo / 'docs' / 'inference.md').read_text()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """What the page speaks of: the demo's checkpoints, untrained, a photograph, a folder and a video."""
    folder = tmp_path_factory.mktemp('user')
    torch.manual_seed(0)
    for stage, name in MODELS_OF_DEMO.items():
        cfg = read_config(name)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
        target = folder / 'work_dirs' / 'demo' / stage
        target.mkdir(parents=True)
        save_model(target / 'last.pth', model.state_dict(), {'config': name})
    (folder / 'photos').mkdir()
    images = np.random.default_rng(0).integers(0, 255, (3, 96, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'street.jpg'), images[0])
    video = cv2.VideoWriter(
        str(folder / 'street.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 5, (128, 96)
    )
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / 'photos' / f'{number}.jpg'), image)
        video.write(image)
    video.release()
    return folder


def blocks(page, language):
    return re.findall(rf'^```{language}\n(.*?)^```$', page, re.DOTALL | re.MULTILINE)


def test_python_blocks_run_one_after_the_other(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names: dict = {}
    for block in blocks(page, 'python'):
        exec(compile(block, 'docs/inference.md', 'exec'), names)
    assert isinstance(names['result'].pred_instances.masks, torch.Tensor)
    assert issubclass(names['PointRendInferencer'], PointRendInferencer)
    # Label maps of three photographs, and an overlay of one.
    assert len(list(folder.glob('drawn/pred/*.png'))) == 3
    assert (folder / 'drawn' / 'vis' / 'street.jpg').is_file()
    assert 'photos/2.jpg' in capsys.readouterr().out


def test_commands_run(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    lines = [
        shlex.split(line)
        for block in blocks(page, 'bash')
        for line in block.replace('\\\n', ' ').splitlines()
    ]
    assert {line[0] for line in lines} == {'mmpointrend', 'mim'}
    for program, *arguments in lines:
        if program == 'mim':
            done = subprocess.run(
                [Path(sys.executable).with_name('mim'), *arguments], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            assert 'pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024' in done.stdout
            assert 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco' in done.stdout
            continue
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert not stop.value.code, capsys.readouterr()
    assert len(list(folder.glob('predicted/**/*'))) > 3
