# Copyright (c) The mmpointrend authors.
"""Inferencers: ours against the stock ones, and these with our configs, by path and by name, in fresh processes."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmseg.apis import MMSegInferencer

from mmpointrend.apis import PointRendInferencer
from mmpointrend.checkpoints.saving import save_model
from mmpointrend.engine.config_files import find_config_file

NAMES = {
    'instance': 'pointrend_mask-rcnn_r18-w16_fpn_1xb4-600i_shapes',
    'semantic': 'pointrend_fpn-p3-p5_r18-w16_1xb4-150i_shapes',
}
CLASSES = {'instance': ('object',), 'semantic': ('background', 'object')}


def stock(tiny):
    kind = DetInferencer if tiny.task == 'instance' else MMSegInferencer
    return kind(str(tiny.config), str(tiny.weights), device='cpu')


def test_inferencer_answers_and_writes_as_the_stock_one(tiny, tmp_path):
    ours = PointRendInferencer(tiny.config, tiny.weights, device='cpu')
    theirs = stock(tiny)
    assert isinstance(ours.inferencer, type(theirs))
    folder = str(tiny.images)
    options = {} if tiny.task == 'semantic' else dict(no_save_pred=False, pred_score_thr=0.1)
    answers = []
    for name, one in (('ours', ours), ('theirs', theirs)):
        # mmdet's visualizer draws its colours.
        np.random.seed(0)
        out_dir = str(tmp_path / name)
        answers.append(one(folder, batch_size=2, out_dir=out_dir, return_vis=True, **options))
    assert str(answers[0]['predictions']) == str(answers[1]['predictions'])
    assert len(answers[0]['predictions']) == 6
    for left, right in zip(*(answer['visualization'] for answer in answers), strict=True):
        assert np.array_equal(left, right)
    written = [
        sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob('*.*'))
        for name in ('ours', 'theirs')
    ]
    assert written[0] == written[1] and len(written[0]) == 12
    samples = ours(folder, return_datasamples=True)
    if tiny.task == 'instance':
        samples = samples['predictions']
    # mmseg's stock inferencer knows the argument under another name, and returns labels.
    assert len(samples if isinstance(samples, list) else samples['predictions']) == 6


def test_config_without_a_visualizer_gets_one(tiny, tmp_path):
    cfg = Config.fromfile(tiny.config)
    cfg.pop('visualizer')
    cfg.dump(tmp_path / 'plain.py')
    inferencer = PointRendInferencer(tmp_path / 'plain.py', tiny.weights, device='cpu')
    picture = inferencer(str(sorted(tiny.images.iterdir())[0]), return_vis=True)['visualization']
    assert np.asarray(picture).reshape(-1, 3).std() > 0


SCRIPT = """
import json, sys
import mmpointrend
task, name, path, weights, image = sys.argv[1:]
if task == 'instance':
    from mmdet.apis import DetInferencer as Inferencer, inference_detector as infer, init_detector as init
else:
    from mmseg.apis import MMSegInferencer as Inferencer, inference_model as infer, init_model as init
answers = {}
for key, made in (
    ('path', Inferencer(path, weights, device='cpu')),
    ('name', Inferencer(name, weights, device='cpu', scope='mmpointrend')),
):
    found = made(image, **(dict(return_datasamples=True) if task == 'instance' else {}))['predictions']
    answers[key] = (
        int(found[0].pred_instances.masks.sum()) if task == 'instance' else int((found > 0).sum())
    )
sample = infer(init(path, weights, device='cpu'), image)
answers['init'] = (
    int(sample.pred_instances.masks.sum()) if task == 'instance' else int((sample.pred_sem_seg.data > 0).sum())
)
try:
    Inferencer(name, device='cpu', scope='mmpointrend')
except mmpointrend.errors.CheckpointError as error:
    answers['unpublished'] = str(error)
print(json.dumps(answers))
"""


@pytest.mark.parametrize('task', NAMES)
def test_stock_functions_take_our_configs_in_a_fresh_process(task, instance, tmp_path):
    path = find_config_file(NAMES[task])
    cfg = Config.fromfile(path)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    weights = tmp_path / 'weights.pth'
    save_model(weights, model.state_dict(), {'dataset_meta': {'classes': CLASSES[task]}})
    image = tmp_path / 'image.png'
    small = cv2.imread(str(sorted(instance.images.iterdir())[0]))
    cv2.imwrite(str(image), cv2.resize(small, (192, 160)))
    arguments = [task, NAMES[task], *map(str, (path, weights, image))]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers['path'] == answers['name'] == answers['init']
    assert answers['unpublished'].startswith(f'no weights of {NAMES[task]} are published: train it')
