# Copyright (c) The mmpointrend authors.
"""Masks on ground-truth boxes: frames and order by a head that fills its boxes, figures by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_runs import write_config

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation import GTBoxMaskMetric

HEIGHT, WIDTH = 150, 220
BOXES = [(10, 20, 30, 25), (5, 60, 100, 70), (120, 10, 95, 130)]  # x, y, w, h
CROWD = (0, 0, 220, 15)
CORNERS = 1e-3  # pasting fades a mask out at its rim: of a box it may lose the four corner pixels


def write_rectangles(root: Path) -> Path:
    """Two images: one with filled rectangles and a crowd, one with nothing on it."""
    (root / 'images').mkdir(parents=True)
    records = []
    for number, (x, y, w, h) in enumerate([*BOXES, CROWD]):
        crowd = int(number == len(BOXES))
        polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        part = h // 3  # the crowd's mask fills a third of its box: it would spoil the figures
        counts = [0, part, *([HEIGHT - part, part] * (w - 1)), HEIGHT * (WIDTH - w) + HEIGHT - part]
        records.append(
            {
                'id': number + 1, 'image_id': 0, 'category_id': 1 + number % 2, 'iscrowd': crowd,
                'bbox': [x, y, w, h], 'area': w * h,
                'segmentation': {'size': [HEIGHT, WIDTH], 'counts': counts} if crowd else polygon,
            }
        )  # fmt: skip
    images = []
    for number in range(2):
        name = f'{number}.png'
        cv2.imwrite(str(root / 'images' / name), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        images.append({'id': number, 'file_name': name, 'height': HEIGHT, 'width': WIDTH})
    categories = [{'id': 1, 'name': 'disc'}, {'id': 2, 'name': 'box'}]
    content = {'images': images, 'annotations': records, 'categories': categories}
    (root / 'annotations.json').write_text(json.dumps(content))
    return root


@pytest.fixture
def runner(tmp_path) -> Runner:
    """Tests a tiny Mask R-CNN on images whose two sides Resize scales differently."""
    config = Config.fromfile(
        write_config('instance', tmp_path, write_rectangles(tmp_path / 'data'), length=1)
    )
    config.test_dataloader.dataset.pipeline[1] = dict(
        type='Resize', scale=(131, 317), keep_ratio=False
    )
    config.test_cfg = dict(type='mmpointrend.GTBoxTestLoop')
    config.test_evaluator = dict(type='mmpointrend.GTBoxMaskMetric')
    config.default_hooks.pop('visualization')
    return Runner.from_cfg(config)


def fill(runner: Runner, label: int | slice = slice(None), logit: float = 20) -> None:
    """Makes the coarse head and the point head answer ``logit`` everywhere for a class."""
    heads = runner.model.roi_head
    classes = heads.mask_head.num_classes
    with torch.no_grad():
        for layer in (heads.mask_head.fc_logits, heads.point_head.fc_logits):
            layer.weight.zero_()
            layer.bias.view(classes, -1)[label] = logit


def test_a_head_that_fills_its_boxes_is_right_on_rectangles(runner):
    fill(runner)
    figures = runner.test()
    for suffix in ('', '_s', '_m', '_l'):
        assert figures[f'gt_box/mask_IoU{suffix}'] == pytest.approx(1, abs=CORNERS)
        assert figures[f'gt_box/boundary_IoU{suffix}'] == pytest.approx(1, abs=10 * CORNERS)


def test_labels_choose_the_mask(runner):
    fill(runner)
    fill(runner, 1, -20)  # 'box', the second rectangle
    figures = runner.test()
    assert figures['gt_box/mask_IoU'] == pytest.approx(2 / 3, abs=CORNERS)
    assert figures['gt_box/mask_IoU_m'] == pytest.approx(0, abs=1e-9)  # 100 x 70: medium


def test_validation_loop_gives_the_same(runner, tmp_path):
    config = runner.cfg.copy()
    for part in ('dataloader', 'evaluator'):
        config[f'val_{part}'] = config[f'test_{part}']
    config.val_cfg = dict(type='mmpointrend.GTBoxValLoop')
    config.experiment_name = 'validation'
    other = Runner.from_cfg(config)
    fill(other)
    assert other.val()['gt_box/mask_IoU'] == pytest.approx(1, abs=CORNERS)


def test_ground_truth_loaded_before_resize_is_refused(runner):
    steps = runner.cfg.test_dataloader.dataset.pipeline
    steps[1], steps[2] = steps[2], steps[1]
    runner.cfg.experiment_name = 'swapped'
    with pytest.raises(ConfigError, match='LoadAnnotations has to come after Resize'):
        Runner.from_cfg(runner.cfg).test()


def test_ground_truth_without_masks_is_refused(runner):
    runner.cfg.test_dataloader.dataset.pipeline[2].with_mask = False
    runner.cfg.experiment_name = 'maskless'
    with pytest.raises(ConfigError, match='with_mask=True'):
        Runner.from_cfg(runner.cfg).test()


def test_a_model_without_a_mask_head_is_refused(runner):
    runner.model.roi_head.mask_head = None
    with pytest.raises(ConfigError, match='no RoI head with a mask head'):
        runner.test()


def compare(truth: np.ndarray, predicted: np.ndarray, masks=None, **kwargs) -> dict[str, float]:
    """Runs the metric over one image."""
    metric = GTBoxMaskMetric(**kwargs)
    truth_masks = masks or BitmapMasks(truth.astype(np.uint8), *truth.shape[1:])
    metric.process(
        {},
        [
            {
                'gt_instances': {'masks': truth_masks},
                'pred_instances': {'masks': torch.from_numpy(predicted)},
            }
        ],
    )
    return metric.evaluate(1)


def test_figures_by_hand_and_by_size():
    truth = np.zeros((3, 150, 150), bool)  # diagonal 212: the boundary is 4 pixels wide
    truth[0, 10:20, 10:20] = True  # 100 pixels
    truth[1, 10:42, 10:42] = True  # 1024 pixels: the first medium size
    truth[2, 10:106, 10:106] = True  # 9216 pixels: the first large size
    predicted = truth.copy()
    predicted[0, 10:15] = False  # half of the small one
    predicted[1, 20:30, 20:30] = False  # a hole in the medium one, clear of its boundary
    figures = compare(truth, predicted)
    # small: 10 x 10 has a boundary of 100 - 2 x 2, 10 x 5 of all its 50; they share 50 - 2.
    small = (0.5, 48 / (96 + 50 - 48))
    # medium: the hole makes a boundary of its own, 4 pixels around it: 18^2 - 10^2 new ones, of
    # which none is in the outer ring of 32^2 - 24^2.
    ring = 32**2 - 24**2
    medium = ((1024 - 100) / 1024, ring / (ring + 18**2 - 10**2))
    expected = {'_s': small, '_m': medium, '_l': (1, 1)}
    expected[''] = np.mean(list(expected.values()), axis=0)
    for suffix, (mask_iou, boundary_iou) in expected.items():
        assert figures[f'gt_box/mask_IoU{suffix}'] == pytest.approx(mask_iou)
        assert figures[f'gt_box/boundary_IoU{suffix}'] == pytest.approx(boundary_iou)


def test_polygon_truth_and_missing_sizes():
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 5:15, 5:25] = True
    polygon = [np.array([5.0, 5, 25, 5, 25, 15, 5, 15])]
    figures = compare(truth, truth, PolygonMasks([polygon], 40, 40), prefix='boxes')
    assert figures['boxes/mask_IoU'] == figures['boxes/mask_IoU_s'] == 1
    assert np.isnan(figures['boxes/boundary_IoU_l'])


def test_one_prediction_for_each_instance():
    truth = np.zeros((2, 10, 10), bool)
    with pytest.raises(ConfigError, match='needs GTBoxTestLoop'):
        compare(truth, truth[:1])
