# Copyright (c) The mmpointrend authors.
"""Targets of positives against RoIAlign and `grid_sample` of full-resolution bitmaps, and against mmdet's crops."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st
from mmcv.ops import roi_align
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as mask_api
from torch import Tensor

from mmpointrend.errors import InputError
from mmpointrend.models.roi_heads.ground_truth import BoxedMasks, MaskTargets

HEIGHT, WIDTH = 48, 64
SIZE = ConfigDict(mask_size=7)


def coarse_targets(results: list, batch: list[InstanceData]) -> Tensor:
    """What any mask head of mmdet's makes of the ground truth, (R, 7, 7)."""
    return FCNMaskHead.get_targets(None, *MaskTargets(results, batch).for_mask_head(), SIZE)


def rasterised(polygons: list[list[np.ndarray]], height: int, width: int) -> Tensor:
    """Bitmaps (M, height, width) by pycocotools."""
    bitmaps = [
        mask_api.decode(mask_api.merge(mask_api.frPyObjects(parts, height, width)))
        for parts in polygons
    ]
    # pycocotools' arrays run down the columns; mmcv's RoIAlign reads memory as if it ran along the rows.
    return torch.from_numpy(np.stack(bitmaps)).float().contiguous()


def cropped(bitmaps: Tensor, boxes: Tensor, numbers: Tensor) -> Tensor:
    """detectron2's targets: RoIAlign of whole float bitmaps, one box after the other."""
    crops = [
        roi_align(
            bitmaps[number][None, None], F.pad(box[None], (1, 0)), (7, 7), 1.0, 0, 'avg', True
        )
        for box, number in zip(boxes, numbers, strict=True)
    ]
    return (torch.cat(crops)[:, 0] >= 0.5).float()


def sampled(bitmaps: Tensor, boxes: Tensor, numbers: Tensor, points: Tensor) -> Tensor:
    """detectron2's values at points: `grid_sample` of whole float bitmaps."""
    height, width = bitmaps.shape[-2:]
    corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    grid = 2 * (corner + points * side) / torch.tensor([width, height]) - 1
    values = F.grid_sample(bitmaps[numbers][:, None], grid[:, :, None], align_corners=False)
    return values[:, 0, :, 0]


def random_case(seed: int) -> tuple[list[list[np.ndarray]], Tensor, Tensor]:
    """Polygons of one or two parts, some reaching over the border, and boxes inside and outside of the image."""
    rng = np.random.default_rng(seed)
    polygons = [
        [
            (rng.uniform(-0.1, 1.1, (int(rng.integers(3, 9)), 2)) * (WIDTH, HEIGHT)).ravel()
            for _ in range(rng.integers(1, 3))
        ]
        for _ in range(4)
    ]
    corners = rng.uniform(-0.3, 0.9, (9, 2)) * (WIDTH, HEIGHT)
    boxes = np.concatenate([corners, corners + rng.uniform(1, 50, (9, 2))], 1).astype(np.float32)
    boxes[::3] = boxes[::3].round()
    return polygons, torch.from_numpy(boxes), torch.from_numpy(rng.choice([0, 1, 3], 9))


def positives(boxes: Tensor, numbers: Tensor) -> SimpleNamespace:
    """What the targets read of mmdet's sampling result."""
    return SimpleNamespace(pos_priors=boxes, pos_assigned_gt_inds=numbers)


def truths(polygons: list[list[np.ndarray]]) -> dict[str, InstanceData]:
    """The same ground truth in each form in which it comes to the RoI head."""
    bitmaps = rasterised(polygons, HEIGHT, WIDTH).numpy().astype(np.uint8)
    padded = np.pad(bitmaps, ((0, 0), (0, 16), (0, 32)))
    forms = {
        'polygons': PolygonMasks(polygons, HEIGHT, WIDTH),
        'padded polygons': PolygonMasks(polygons, HEIGHT + 16, WIDTH + 32),
        'bitmaps': BitmapMasks(bitmaps, HEIGHT, WIDTH),
        'padded bitmaps': BitmapMasks(padded, HEIGHT + 16, WIDTH + 32),
    }
    meta = {'img_shape': (HEIGHT, WIDTH)}
    return {name: InstanceData(metainfo=meta, masks=masks) for name, masks in forms.items()}


@settings(max_examples=40, deadline=None)
@given_examples(seed=st.integers(0, 9999))
def test_targets_are_those_of_full_resolution_bitmaps(seed):
    polygons, boxes, numbers = random_case(seed)
    bitmaps = rasterised(polygons, HEIGHT, WIDTH)
    expected = cropped(bitmaps, boxes, numbers)
    points = torch.rand(9, 20, 2, generator=torch.Generator().manual_seed(seed))
    values = sampled(bitmaps, boxes, numbers, points)
    for name, truth in truths(polygons).items():
        result = positives(boxes.clone(), numbers)
        assert torch.equal(coarse_targets([result], [truth]), expected), name
        targets = MaskTargets([result], [truth]).at(points)
        torch.testing.assert_close(targets, values, atol=2e-5, rtol=0, msg=name)
        # The point branch comes next and is to see the same boxes.
        assert torch.equal(result.pos_priors, boxes)


def test_targets_of_real_polygons(shared_dir):
    """Every cell, with boxes about the objects' own and a third of a side beyond the image's border."""
    path = shared_dir / 'data' / 'coco_multi' / 'instances_val2017.json'
    if not path.is_file():
        pytest.skip(f'{path} is missing')
    content = json.loads(path.read_text())
    images = {image['id']: image for image in content['images']}
    rng = np.random.default_rng(0)
    cells = different = 0
    for annotation in content['annotations'][::8]:
        if annotation['iscrowd']:
            continue
        image = images[annotation['image_id']]
        polygons = [[np.array(part) for part in annotation['segmentation']]]
        height, width = image['height'], image['width']
        x, y, w, h = annotation['bbox']
        box = np.array([[x, y, x + w, y + h]]) + rng.normal(0, 0.1, (3, 4)) * (w, h, w, h)
        boxes = torch.from_numpy(box.astype(np.float32))
        numbers = torch.zeros(3, dtype=torch.long)
        truth = InstanceData(masks=PolygonMasks(polygons, height, width))
        actual = coarse_targets([positives(boxes, numbers)], [truth])
        expected = cropped(rasterised(polygons, height, width), boxes, numbers)
        cells += expected.numel()
        different += int((actual != expected).sum())
    assert cells > 20_000
    assert different == 0


def test_outside_the_image_is_background_up_to_its_very_border():
    """Half of the box lies beyond the right border: its fourth column of cells is cut by it, the rest is outside."""
    truth = InstanceData(masks=BitmapMasks(np.ones((1, 14, 14), np.uint8), 14, 14))
    boxes = torch.tensor([[7.0, 0, 21, 14]])
    targets = coarse_targets([positives(boxes, torch.tensor([0]))], [truth])
    assert targets[0].tolist() == [[1.0, 1, 1, 1, 0, 0, 0]] * 7


def test_batches_are_images_one_after_the_other():
    cases = [random_case(seed) for seed in range(3)]
    cases[1] = (cases[1][0], cases[1][1][:0], cases[1][2][:0])
    results = [positives(boxes, numbers) for _, boxes, numbers in cases]
    batch = [truths(polygons)['polygons'] for polygons, _, _ in cases]
    points = torch.rand(18, 5, 2)
    whole = MaskTargets(results, batch).at(points)
    parts = [
        MaskTargets([result], [truth]).at(part)
        for result, truth, part in zip(results, batch, points.split([9, 0, 9]), strict=True)
    ]
    assert torch.equal(whole, torch.cat(parts))
    assert coarse_targets(results, batch).shape == (18, 7, 7)
    assert MaskTargets(results[1:2], batch[1:2]).at(points[:0]).shape == (0, 5)


@pytest.mark.parametrize('binarize', [True, False])
@pytest.mark.parametrize('number', [0, 9])
def test_crops_are_those_of_mmdet(number, binarize):
    rng = np.random.default_rng(0)
    masks = (rng.random((4, 30, 40)) > 0.5).astype(np.uint8)
    corners = rng.random((number, 2), dtype=np.float32) * 20
    boxes = np.concatenate(
        [corners, corners + 1 + rng.random((number, 2), dtype=np.float32) * 15], 1
    )
    boxes, inds = torch.from_numpy(boxes), torch.from_numpy(rng.choice([0, 1, 3], number))
    truth = InstanceData(masks=BitmapMasks(masks, 30, 40))
    crops = BoxedMasks(positives(boxes, inds), truth)
    actual = crops.crop_and_resize(boxes, (7, 5), inds, binarize=binarize)
    assert actual.masks.shape == (number, 7, 5)
    if number:
        whole = BitmapMasks(masks, 30, 40)
        expected = whole.crop_and_resize(boxes, (7, 5), inds, binarize=binarize)
        np.testing.assert_array_equal(actual.masks, expected.masks)
        assert 0.1 < actual.masks.mean() < 0.9


@settings(max_examples=40, deadline=None)
@given_examples(seed=st.integers(0, 999), number=st.integers(1, 12), corner=st.sampled_from([1, 8]))
def test_crops_of_any_boxes_are_those_of_mmdet(seed, number, corner):
    """Wide and narrow boxes, off the image too, with whole coordinates (ties at 0.5) among them: bit for bit."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((3, 24 // corner, 32 // corner)) > 0.5).astype(np.uint8)
    masks = masks.repeat(corner, axis=1).repeat(corner, axis=2)
    boxes = rng.uniform(-10, 40, (number, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(0, 30, (number, 2))
    boxes[::2] = boxes[::2].round()
    boxes, inds = torch.from_numpy(boxes), torch.from_numpy(rng.integers(0, 3, number))
    whole = BitmapMasks(masks, 24, 32)
    crops = BoxedMasks(positives(boxes, inds), InstanceData(masks=whole))
    for binarize in (True, False):
        actual = crops.crop_and_resize(boxes, (7, 7), inds, binarize=binarize)
        expected = whole.crop_and_resize(boxes, (7, 7), inds, binarize=binarize)
        np.testing.assert_array_equal(actual.masks, expected.masks)


def test_the_given_ground_truth_stays():
    bitmaps = BitmapMasks(np.zeros((2, 8, 8), np.uint8), 8, 8)
    truth = InstanceData(masks=bitmaps, labels=torch.arange(2))
    result = positives(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([1]))
    _, (copied,) = MaskTargets([result], [truth]).for_mask_head()
    assert truth.masks is bitmaps
    assert np.shares_memory(copied.masks.packed.pixels, bitmaps.masks)
    assert torch.equal(copied.labels, truth.labels)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e30])
@pytest.mark.parametrize('kind', ['polygons', 'bitmaps'])
def test_boxes_of_a_model_that_diverges_cover_nothing(kind, value):
    square = np.array([2, 2, 14, 2, 14, 14, 2, 14.0])
    masks = PolygonMasks([[square]], 16, 16)
    if kind == 'bitmaps':
        masks = BitmapMasks(masks.to_ndarray(), 16, 16)
    boxes = torch.tensor([[4.0, 4, 12, 12], [value] * 4, [4, value, 12, value]])
    result, truth = positives(boxes, torch.zeros(3, dtype=torch.long)), InstanceData(masks=masks)
    targets = coarse_targets([result], [truth])
    assert targets[0].all()
    assert not targets[1].any()
    values = MaskTargets([result], [truth]).at(torch.full((3, 4, 2), 0.5))
    assert values[0].tolist() == [1.0] * 4
    assert values[1].tolist() == [0.0] * 4


def test_a_box_far_larger_than_the_image_takes_no_time():
    truth = InstanceData(masks=BitmapMasks(np.ones((1, 16, 16), np.uint8), 16, 16))
    boxes = torch.tensor([[-9e4, -9e4, 9e4, 9e4]])
    assert not coarse_targets([positives(boxes, torch.tensor([0]))], [truth]).any()


@pytest.mark.parametrize('value', [float('nan'), -float('inf'), 1e9])
def test_polygons_that_would_be_drawn_for_ever_are_refused(value):
    polygons = [[np.array([0, 0, 4, 0, 4, 4.0])], [np.array([0, 0, 4, 0, 4, value])]]
    truth = [
        InstanceData(masks=PolygonMasks(masks, 8, 8), labels=torch.zeros(1))
        for masks in (polygons[:1], polygons[1:])
    ]
    with pytest.raises(InputError, match='the mask of object 0 of image 1 of the batch has coord'):
        MaskTargets([positives(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))] * 2, truth)
