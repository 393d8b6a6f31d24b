# Copyright (c) The mmpointrend authors.
"""``mmpointrend predict``: what it writes is what predict answers; bad files; videos; exit statuses."""

import json
import shlex

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from pycocotools import mask as mask_api
from tiny_runs import CLASSES, write_config, write_data

from mmpointrend.apis import load_model, predict, writing
from mmpointrend.checkpoints.saving import save_model
from mmpointrend.cli import main


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """Config and weights of each task, and a folder of six images."""
    folder = tmp_path_factory.mktemp('tiny')
    data = write_data(folder / 'data')
    made = {'images': data / 'images'}
    for task in ('instance', 'semantic'):
        config = write_config(task, folder, data, length=2)
        cfg = Config.fromfile(config)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
            model.init_weights()
        classes = CLASSES if task == 'instance' else ('background', *CLASSES)
        weights = folder / f'{task}.pth'
        save_model(weights, model.state_dict(), {'dataset_meta': {'classes': classes}})
        made[task] = (config, weights)
    return made


def run(capsys, tiny, task, *arguments):
    """Exit status, standard output and error."""
    config, weights = tiny[task]
    line = ['predict', '--model', config, '--weights', weights, '--device', 'cpu', *arguments]
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, line)))
    out, err = capsys.readouterr()
    code = stop.value.code
    return (1, out, err + code) if isinstance(code, str) else (code or 0, out, err)


def test_json_holds_the_masks_of_predict(tiny, capsys, tmp_path):
    arguments = [tiny['images'], '--out', tmp_path / 'out', '--score', '0.3', '--batch', '4']
    status, out, _ = run(capsys, tiny, 'instance', *arguments)
    assert status == 0 and f'6 images and frames: {tmp_path / "out"}' in out
    assert 'predicting: 6/6' in out and '\x1b' not in out
    (path,) = (tmp_path / 'out').glob('*.json')
    content = json.loads(path.read_text())
    assert [category['name'] for category in content['categories']] == list(CLASSES)
    model = load_model(*tiny['instance'], device='cpu')
    samples = predict(model, tiny['images'], score_thr=0.3)
    assert [image['file_name'] for image in content['images']] == [s.img_path for s in samples]
    found = {image['id']: [] for image in content['images']}
    for annotation in content['annotations']:
        found[annotation['image_id']].append(annotation)
    assert len(content['annotations']) > 5
    for annotations, sample in zip(found.values(), samples, strict=True):
        masks = sample.pred_instances.masks.numpy()
        kept = [index for index, mask in enumerate(masks) if mask.any()]
        assert len(annotations) == len(kept)
        for annotation, index in zip(annotations, kept, strict=True):
            assert np.array_equal(mask_api.decode(annotation['segmentation']), masks[index])
            assert annotation['score'] == pytest.approx(
                float(sample.pred_instances.scores[index]), abs=1e-4
            )
    assert (
        len(list((tmp_path / 'out').rglob('*.jpg')) + list((tmp_path / 'out').rglob('*.png'))) == 6
    )


def test_label_maps_are_those_of_predict(tiny, capsys, tmp_path):
    arguments = ['--out', tmp_path, '--format', 'png,overlay,polygons', '--batch', '3']
    status, _, _ = run(capsys, tiny, 'semantic', f'{tiny["images"]}/*.png', *arguments)
    assert status == 0
    samples = predict(load_model(*tiny['semantic'], device='cpu'), tiny['images'])
    maps = [
        np.asarray(image)
        for path in sorted(tmp_path.rglob('*.png'))
        if (image := Image.open(path)).mode == 'P'
    ]
    assert len(maps) == 6
    for labels, sample in zip(maps, samples, strict=True):
        assert np.array_equal(labels, sample.pred_sem_seg.data[0].numpy())
    (path,) = tmp_path.glob('*.json')
    assert {a['category_id'] for a in json.loads(path.read_text())['annotations']}


@pytest.fixture
def mixed(tiny, tmp_path):
    """Four images, of which one is damaged, one has 16 bits, and one is no image."""
    folder = tmp_path / 'mixed'
    folder.mkdir()
    first, second, *_ = sorted(tiny['images'].iterdir())
    (folder / 'a.png').write_bytes(first.read_bytes())
    (folder / 'b_damaged.png').write_bytes(second.read_bytes()[:300])
    cv2.imwrite(str(folder / 'c_16bit.png'), cv2.imread(str(second)).astype(np.uint16) * 257)
    (folder / 'd_text.jpg').write_text('no image')
    return folder


def test_bad_files_are_named_at_the_end_and_do_not_stop_the_rest(tiny, capsys, mixed, tmp_path):
    status, out, err = run(
        capsys, tiny, 'semantic', mixed, '--out', tmp_path / 'out', '--format', 'png'
    )
    assert status == 2 and '2 images and frames' in out
    head, *named = err.splitlines()[-3:]
    assert head == '2 could not be used:'
    assert 'b_damaged.png' in named[0] and 'd_text.jpg' in named[1]
    assert all(line.startswith('- the image ') and line.endswith('.') for line in named)
    assert len(list((tmp_path / 'out').rglob('*.png'))) == 2


def test_image_that_does_not_fit_into_memory_is_left_out(tiny, capsys, tmp_path, monkeypatch):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, side in enumerate((64, 128, 96)):
        cv2.imwrite(str(folder / f'{number}.png'), np.full((side, side, 3), 99, np.uint8))

    def with_little_memory(*arguments, **options):
        model = load_model(*arguments, **options)
        step = model.test_step

        def checked(data):
            if data['inputs'][0].shape[-1] == 128:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
            return step(data)

        model.test_step = checked
        return model

    monkeypatch.setattr(writing, 'load_model', with_little_memory)
    status, out, err = run(
        capsys, tiny, 'semantic', folder, '--out', tmp_path / 'o', '--format', 'png'
    )
    assert status == 2 and '2 images and frames' in out
    assert '1.png with 128 x 128 pixels does not fit into memory: make it smaller' in err


def test_video_in_video_out(tiny, capsys, tmp_path):
    video = str(tmp_path / 'clip.mp4')
    writer = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*'mp4v'), 7, (64, 64))
    for file in sorted(tiny['images'].iterdir()) * 2:
        writer.write(cv2.imread(str(file)))
    writer.release()
    out = tmp_path / 'out'
    status, screen, _ = run(
        capsys, tiny, 'instance', video, '--out', out, '--score', '0.3', '--batch', '5'
    )
    assert status == 0 and '12 images and frames' in screen and 'predicting: 12/12' in screen
    (drawn,) = (path for path in out.rglob('*') if path.suffix in ('.mp4', '.avi', '.webm'))
    frames = mmcv.VideoReader(str(drawn))
    assert (len(frames), frames.fps) == (12, 7)
    (path,) = out.glob('*.json')
    assert len(json.loads(path.read_text())['images']) == 12


@pytest.mark.parametrize(
    ('task', 'arguments', 'words'),
    [
        ('instance', '--format overlay,gif', 'choose from overlay, coco, polygons, png'),
        ('instance', '--format ,', 'choose from overlay, coco, polygons, png'),
        ('instance', '--tta', 'tta works for semantic segmentation'),
        ('semantic', '--adaptive', 'adaptive is a way of rendering instances'),
        ('semantic', '--score 0.5', 'score_thr chooses instances'),
        ('semantic', '--batch 0', 'batch_size is 0'),
    ],
)
def test_what_cannot_be_done_exits_with_1_and_a_sentence(
    tiny, capsys, tmp_path, task, arguments, words
):
    status, _, err = run(
        capsys, tiny, task, tiny['images'], '--out', tmp_path / 'out', *shlex.split(arguments)
    )
    assert status == 1 and words in err
    assert err.splitlines()[-1].startswith('error: ') and not (tmp_path / 'out').exists()


def test_missing_input_exits_with_1(tiny, capsys, tmp_path):
    status, _, err = run(capsys, tiny, 'instance', tmp_path / 'none.jpg', '--out', tmp_path / 'out')
    assert status == 1 and 'none.jpg does not exist' in err
