# Copyright (c) The mmpointrend authors.
"""Outlines against closed forms, mmdet's pasting and pycocotools, and the forms in which others read them."""

import itertools
import json
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import shapely
import shapely.geometry
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from tiny_heads import META, build_roi_head, detections, feature_levels, predict, roi_head_config

from mmpointrend import polygons as module
from mmpointrend.contours import Polygon, trace, trace_mask, trace_on_pixels, trace_pasted
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.polygons import (
    contours_kept,
    instance_polygons,
    label_map_polygons,
    rasterize,
    simplify,
    to_coco,
    to_geojson,
)

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def iou(one, other):
    """IoU by pycocotools."""
    runs = [mask_api.encode(np.asfortranarray(mask, np.uint8)) for mask in (one, other)]
    return mask_api.iou([runs[0]], [runs[1]], [0])[0, 0]


def area(ring):
    """Signed area of a ring (n, 2)."""
    x, y = ring.T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


def pasted(logits, box, size):
    """The probabilities that mmdet pastes, (H, W)."""
    values, place = _do_paste_mask(
        torch.from_numpy(logits)[None, None].float().sigmoid(), torch.tensor([box]).float(), *size
    )
    whole = np.zeros(size, np.float32)
    whole[place] = values[0].numpy()
    return whole


def of_image(values, box):
    """Values (H, W) in a box of whole numbers, resampled to a map of 112 x 112."""
    x1, y1, x2, y2 = box
    return cv2.resize(values[y1:y2, x1:x2], (112, 112), interpolation=cv2.INTER_AREA)


class TestClosedForms:
    @pytest.mark.parametrize('radius', [3.0, 12.3, 40.0])
    def test_a_disc_in_its_box(self, radius):
        centre = np.array([60.2, 58.7])
        box = np.concatenate([centre - 1.2 * radius, centre + 1.2 * radius])
        places = (np.arange(224) + 0.5) / 224 * 2.4 * radius - 1.2 * radius
        logits = 2 * (radius - np.hypot(*np.meshgrid(places, places)))
        (disc,) = trace_pasted(logits.astype(np.float32), box, (128, 128))
        assert np.abs(np.hypot(*(disc.outer - centre).T) - radius).max() < 0.01
        assert not disc.holes and area(disc.outer) == pytest.approx(np.pi * radius**2, rel=1e-3)

    def test_a_ring_on_pixels(self):
        x, y = np.meshgrid(np.arange(20, 60) + 0.5, np.arange(10, 50) + 0.5)
        distance = np.hypot(x - 40.1, y - 30.3)
        box = np.array([19.8, 9.9, 60.2, 50.1])
        (ring,) = trace_on_pixels(np.minimum(15 - distance, distance - 6), (20, 10), box, (70, 70))
        (hole,) = ring.holes
        for vertices, radius in ((ring.outer, 15), (hole, 6)):
            assert np.abs(np.hypot(*(vertices - [40.1, 30.3]).T) - radius).max() < 0.05
        assert area(ring.outer) > 0 > area(hole)

    def test_a_straight_edge_lies_between_pixels_where_the_logit_is_zero(self):
        (part,) = trace(np.tile([-1.0, 3.0], (2, 1)), np.array([0.5, 1.5]), np.array([0.5, 1.5]))
        assert part.outer[:, 0].min() == 0.75

    @pytest.mark.parametrize('threshold', [0.2, 0.5, 0.9])
    def test_thresholds(self, threshold):
        logits = np.tile(np.linspace(-6, 6, 64), (64, 1))
        (part,) = trace_on_pixels(logits, (0, 0), np.array([0, 0, 64, 64]), (64, 64), threshold)
        expected = (np.log(threshold / (1 - threshold)) + 6) / 12 * 63 + 0.5
        assert part.outer[:, 0].min() == pytest.approx(expected)
        assert trace_on_pixels(logits, (0, 0), np.array([0, 0, 64, 64]), (64, 64), 1.0) == ()
        (everything,) = trace_on_pixels(logits, (0, 0), np.array([0, 0, 64, 64]), (64, 64), 0.0)
        assert area(everything.outer) == 64 * 64


class TestBorder:
    def test_closed_along_the_border_of_the_image(self):
        """A box far over all four borders, of which all is foreground."""
        (part,) = trace_pasted(np.full((28, 28), 9.0), np.array([-50, -60, 90, 95]), (40, 30))
        (part,) = simplify([part], 0)
        assert sorted(map(tuple, part.outer)) == [(0, 0), (0, 40), (30, 0), (30, 40)]

    def test_closed_along_a_box_within_the_image(self):
        """Where probabilities are 1 mmdet's interpolation towards 0 passes 0.5 at the box's edge."""
        (part,) = trace_pasted(np.full((28, 28), 30.0), np.array([5.3, 6.1, 20.8, 17.4]), (40, 30))
        assert part.outer.min(0) == pytest.approx([5.3, 6.1])
        assert part.outer.max(0) == pytest.approx([20.8, 17.4])
        (part,) = trace_on_pixels(
            np.full((11, 15), 1.0), (5, 6), np.array([5.2, 6.1, 20.2, 17.4]), (40, 30)
        )
        assert part.outer.min(0) == pytest.approx([5.2, 6.1])

    @pytest.mark.parametrize(
        'box', [[5, 5, 5, 9], [50, 50, 60, 60], [-9, -9, -2, -2], [np.nan] * 4, [3, 3, np.inf, 9]]
    )
    def test_boxes_without_a_pixel(self, box):
        assert trace_pasted(np.full((28, 28), 9.0), np.array(box), (40, 30)) == ()

    def test_logits_that_are_no_numbers(self):
        logits = np.full((28, 28), np.nan)
        assert trace_pasted(logits, np.array([0, 0, 20, 20]), (40, 30)) == ()
        logits[4:20, 4:20] = np.inf
        assert len(trace_pasted(logits, np.array([0, 0, 20, 20]), (40, 30))) == 1


class TestPixels:
    @settings(deadline=None, max_examples=60)
    @given(MASKS)
    def test_a_mask_comes_back_exactly(self, mask):
        parts = trace_mask(mask)
        assert (rasterize(parts, *mask.shape) == mask).all()
        assert sum(area(ring) for part in parts for ring in part.rings) == mask.sum()
        for ring in (ring for part in parts for ring in part.rings):
            assert (ring == np.round(ring)).all()
            assert all((a == b).sum() == 1 for a, b in itertools.pairwise(ring))

    def test_pixels_that_meet_at_a_corner_are_apart(self):
        assert len(trace_mask(np.eye(3, dtype=bool))) == 3


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.float32, (6, 5), elements=st.floats(-4, 4, width=32)),
    st.tuples(st.floats(-9, 30), st.floats(-9, 30), st.floats(10, 40), st.floats(10, 40)),
)
def test_centres_of_pixels_lie_inside_exactly_where_mmdet_pastes(logits, place):
    x, y, width, height = place
    box = [x, y, x + width, y + height]
    probabilities = pasted(logits, box, (32, 36))
    parts = trace_pasted(logits, np.float32(box), (32, 36))
    centres = shapely.points(*np.meshgrid(np.arange(36) + 0.5, np.arange(32) + 0.5))
    inside = np.zeros(probabilities.shape, bool)
    for part in parts:
        inside |= shapely.contains(shapely.Polygon(part.outer, part.holes), centres)
    # Either answer is right within single precision.
    is_clear = np.abs(probabilities - 0.5) > 1e-4
    assert (inside == (probabilities >= 0.5))[is_clear].all()


class TestRoundTrip:
    """Rasterised by pycocotools, polygons give the mask again."""

    @staticmethod
    def objects(shared_dir, count=60):
        """Masks of COCO with a side above 32 pixels, and their boxes in whole numbers."""
        coco = COCO(str(shared_dir / 'data/coco_multi/instances_val2017.json'))
        large = [
            one for one in coco.loadAnns(coco.getAnnIds(iscrowd=False)) if max(one['bbox'][2:]) > 32
        ]
        for one in large[:: len(large) // count]:
            mask = coco.annToMask(one)
            ys, xs = np.nonzero(mask)
            yield mask, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]

    def test_of_real_masks_as_mmdet_pastes_them(self, shared_dir):
        self.check('pasted', self.pasted(shared_dir))

    def test_of_real_masks_on_the_pixels_of_the_output(self, shared_dir):
        self.check('on pixels', self.on_pixels(shared_dir))

    def pasted(self, shared_dir):
        for mask, box in self.objects(shared_dir):
            logits = 12 * cv2.GaussianBlur(of_image(mask.astype(np.float32), box), (0, 0), 1) - 6
            contour = trace_pasted(logits, np.array(box), mask.shape)
            yield pasted(logits, box, mask.shape) >= 0.5, contour

    def on_pixels(self, shared_dir):
        for mask, (x1, y1, x2, y2) in self.objects(shared_dir):
            logits = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1) - 0.5
            window = logits[y1:y2, x1:x2]
            whole = np.zeros(mask.shape, bool)
            whole[y1:y2, x1:x2] = window >= 0
            box = np.array([x1, y1, x2, y2])
            yield whole, trace_on_pixels(window, (x1, y1), box, mask.shape)

    @staticmethod
    def check(name, masks_and_contours):
        before, after, ious, pixelled = 0, 0, [], 0
        for mask, contour in masks_and_contours:
            ys, xs = np.nonzero(mask)
            if len(xs) == 0 or max(np.ptp(xs), np.ptp(ys)) < 32:
                continue
            instance = InstanceData(masks=torch.from_numpy(mask)[None], contours=[contour])
            (parts,) = instance_polygons(instance)
            ious.append(iou(rasterize(parts, *mask.shape), mask))
            vertices = np.concatenate([ring for part in parts for ring in part.rings])
            pixelled += (vertices == np.round(vertices)).all()
            before += sum(len(ring) for part in contour for ring in part.rings)
            after += len(vertices)
        print(
            f'\n{name}: {len(ious)} objects, IoU at least {min(ious):.4f}, mean {np.mean(ious):.4f}; '
            f'{before / len(ious):.0f} vertices each, {after / len(ious):.0f} simplified; '
            f'{pixelled} along pixels'
        )
        assert len(ious) > 50 and min(ious) >= 0.995
        # Otherwise this would hold of anything.
        assert pixelled < 0.05 * len(ious) and after < before / 3


@torch.no_grad()
def draw(head, results):
    """Masks of detections, added to them."""
    head.predict_mask(feature_levels(), [META] * len(results), results, rescale=True)


@pytest.mark.parametrize('adaptive', [False, True])
class TestRoIHead:
    @pytest.fixture
    def head(self, adaptive):
        config = roi_head_config()
        config.test_cfg.update(subdivision_steps=3, adaptive_resolution=adaptive)
        return build_roi_head(config)

    def test_contours_beside_the_same_masks(self, head):
        plain = predict(head, feature_levels(), detections([3, 2]))
        with contours_kept(head):
            results = detections([3, 2])
            draw(head, results)
        assert 'keep_contours' not in head.test_cfg or not head.test_cfg.keep_contours
        for masks, result in zip(plain, results, strict=True):
            assert torch.equal(masks, result.masks)
            assert len(result.contours) == len(result)
            for contour, polygons, mask in zip(
                result.contours, instance_polygons(result), masks.numpy(), strict=True
            ):
                assert iou(rasterize(contour, *mask.shape), mask) > 0.95
                assert iou(rasterize(polygons, *mask.shape), mask) >= 0.995
                assert len(contour) > 0

    def test_no_detections_and_chosen_ones(self, head):
        head.test_cfg.keep_contours = True
        results = detections([0, 3])
        draw(head, results)
        assert results[0].contours == [] and instance_polygons(results[0]) == []
        chosen = results[1][torch.tensor([False, True, False])]
        assert chosen.contours == [results[1].contours[1]]

    def test_none_unless_asked_for(self, head):
        results = detections([2, 1])
        draw(head, results)
        assert 'contours' not in results[0]


def labels_and_logits(classes=3, size=(40, 60)):
    """Logits (K, H, W) of smooth noise, as mmseg's samples have them, and their label map."""
    noise = np.random.default_rng(0).normal(size=(classes, *size)).astype(np.float32)
    logits = torch.from_numpy(np.stack([cv2.GaussianBlur(one, (0, 0), 5) for one in noise]))
    return logits.argmax(0), logits


class TestLabelMaps:
    def test_neighbours_share_their_boundary(self):
        labels, logits = labels_and_logits(2)
        sample = SegDataSample(
            pred_sem_seg=PixelData(data=labels[None]), seg_logits=PixelData(data=logits)
        )
        found = label_map_polygons(sample, tolerance=0)
        assert set(found) == {0, 1}
        shapes = [
            shapely.unary_union([shapely.Polygon(p.outer, p.holes) for p in parts])
            for parts in found.values()
        ]
        assert shapes[0].intersection(shapes[1]).area < 1e-6
        assert shapes[0].area + shapes[1].area == pytest.approx(labels.numel())

    @pytest.mark.parametrize('with_logits', [True, False])
    def test_round_trip(self, with_logits):
        labels, logits = labels_and_logits()
        sample = SegDataSample(pred_sem_seg=PixelData(data=labels[None]))
        if with_logits:
            sample.seg_logits = PixelData(data=logits)
        for label, parts in label_map_polygons(sample).items():
            mask = (labels == label).numpy()
            assert iou(rasterize(parts, *mask.shape), mask) >= (0.995 if with_logits else 1)
            vertices = np.concatenate([part.outer for part in parts])
            assert (vertices == np.round(vertices)).all() != with_logits

    def test_one_class_by_mmsegs_probabilities(self):
        logits = labels_and_logits(1)[1]
        probabilities = logits.sigmoid()
        labels = (probabilities > 0.52).long()
        sample = SegDataSample(
            pred_sem_seg=PixelData(data=labels), seg_logits=PixelData(data=probabilities)
        )
        found = label_map_polygons(sample, tolerance=0)
        vertices = found[1][0].outer
        assert not (vertices == np.round(vertices)).all()
        assert iou(rasterize(found[1], 40, 60), labels[0].numpy() == 1) >= 0.995

    def test_without_a_label_map(self):
        with pytest.raises(InputError, match='no label map'):
            label_map_polygons(SegDataSample())


class TestSimplifying:
    def test_no_vertex_moves_farther_than_the_tolerance(self):
        angles = np.linspace(0, 2 * np.pi, 500, endpoint=False)
        ring = 50 + 30 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        for tolerance in (0.1, 0.5, 2):
            (part,) = simplify([Polygon(ring)], tolerance)
            outline = shapely.Polygon(part.outer).exterior
            assert shapely.distance(outline, shapely.points(ring)).max() <= tolerance
            assert 3 <= len(part.outer) < 120

    def test_parts_and_holes_stay(self):
        mask = np.zeros((30, 40), bool)
        mask[2:20, 3:30] = mask[25:28, 30:38] = True
        mask[5:8, 6:9] = mask[12:15, 20:26] = False
        for tolerance in (0, 1.5):
            assert [len(part.holes) for part in simplify(trace_mask(mask), tolerance)] == [2, 0]
        assert simplify([], 1) == ()

    @pytest.mark.parametrize('tolerance', [-1, np.nan, np.inf])
    def test_tolerances_that_are_none(self, tolerance):
        with pytest.raises(ConfigError, match='give a number of pixels >= 0'):
            simplify([], tolerance)

    def test_it_yields_to_the_mask(self):
        """A disc of 20 pixels loses 3 % to the default tolerance."""
        x, y = np.meshgrid(np.arange(30) + 0.5, np.arange(30) + 0.5)
        logits = 10 - np.hypot(x - 15, y - 15)
        contour = trace_on_pixels(logits, (0, 0), np.array([0, 0, 30, 30]), (30, 30))
        mask = logits >= 0
        assert iou(rasterize(simplify(contour, 1.0), 30, 30), mask) < 0.97
        (parts,) = instance_polygons(InstanceData(masks=mask[None], contours=[contour]), 1.0)
        assert iou(rasterize(parts, 30, 30), mask) >= 0.995

    def test_noise_of_thousands_of_parts(self):
        mask = np.random.default_rng(0).random((80, 80)) > 0.5
        contour = trace_mask(mask)
        with patch.object(module, 'MOST_RINGS', 10):
            (parts,) = instance_polygons(InstanceData(masks=mask[None], contours=[contour]))
        assert len(parts) == len(contour)


class TestForms:
    @pytest.fixture
    def parts(self):
        """Two parts, of which one has two holes."""
        mask = np.zeros((30, 40), bool)
        mask[2:20, 3:30] = mask[25:28, 30:38] = True
        mask[5:8, 6:9] = mask[12:15, 20:26] = False
        return trace_mask(mask)

    def test_coco(self, parts):
        """Holes by bridges, which even-odd and nonzero filling leave out."""
        segmentation = to_coco(parts)
        assert len(segmentation) == 2
        rings = [np.reshape(one, (-1, 2)) for one in segmentation]
        assert area(rings[0]) == 18 * 27 - 3 * 3 - 3 * 6
        filled = np.zeros((30, 40), np.uint8)
        # 1 / 16 of a pixel, and centres at whole numbers.
        whole = [np.round((ring - 0.5) * 16).astype(np.int32) for ring in rings]
        cv2.fillPoly(filled, whole, 1, shift=4)
        for mask in (filled, rasterize(parts, 30, 40)):
            assert not mask[6, 7] and not mask[13, 22] and mask[10, 10] and mask[26, 33]
        assert json.loads(json.dumps(segmentation)) == segmentation

    def test_geojson(self, parts):
        shape = shapely.geometry.shape(json.loads(json.dumps(to_geojson(parts))))
        assert shape.is_valid and shape.geom_type == 'MultiPolygon'
        assert shape.area == 18 * 27 - 3 * 3 - 3 * 6 + 3 * 8
        assert all(part.exterior.is_ccw for part in shape.geoms)

    def test_nothing(self):
        assert to_coco(()) == [] and to_geojson(())['coordinates'] == []
        assert not rasterize((), 4, 5).any()

    def test_predictions_without_masks(self):
        with pytest.raises(InputError, match='has no masks'):
            instance_polygons(InstanceData(bboxes=torch.zeros(0, 4)))
        assert instance_polygons(InstanceData(masks=np.zeros((1, 4, 5), bool))) == [()]


def test_models_of_others_are_left_as_they_are():
    with contours_kept(torch.nn.Identity()):
        pass
