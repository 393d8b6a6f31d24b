# Copyright (c) The mmpointrend authors.
"""Masks that never become dense, against the dense ones of the same head, and what mmdet asks of them."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.apis import DetInferencer
from mmdet.evaluation.metrics import CocoMetric, DumpDetResults
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from tiny_heads import META, build_roi_head, change, detections, feature_levels

from mmpointrend.errors import ConfigError, InputError
from mmpointrend.sparse_masks import SparseMask, SparseMasks


def heads(adaptive):
    """The same head, by what its masks are."""
    config = change('test_cfg.adaptive_resolution', adaptive)
    config.test_cfg.subdivision_num_points = 100
    made = {}
    for output in ('dense', 'rle', 'crop'):
        made[output] = build_roi_head(copy.deepcopy(config)).eval()
        made[output].test_cfg.mask_output = output
    return made


HEADS = {adaptive: heads(adaptive) for adaptive in (False, True)}


def masks_of(head, x, results, metas, rescale=True):
    results = copy.deepcopy(results)
    with torch.no_grad():
        head.predict_mask(x, metas, results, rescale=rescale)
    return results


@settings(max_examples=12, deadline=None)
@given(
    adaptive=st.booleans(),
    counts=st.lists(st.integers(0, 4), min_size=2, max_size=2),
    scale=st.sampled_from([(1.0, 1.0), (0.8, 2.0)]),
    rescale=st.booleans(),
    everything=st.booleans(),
)
def test_run_lengths_and_crops_are_those_of_dense_masks(
    adaptive, counts, scale, rescale, everything
):
    x, found = [level.detach() for level in feature_levels()], detections(counts)
    if everything and counts[0] > 0:
        found[0].bboxes[0] = torch.tensor([-20.0, -20.0, 160.0, 120.0])
    shape = (round(96 / scale[1]), round(128 / scale[0]))
    metas = [{**META, 'ori_shape': shape, 'scale_factor': scale}] * 2
    outputs = {
        name: masks_of(head, x, found, metas, rescale) for name, head in HEADS[adaptive].items()
    }
    for dense, rle, crop in zip(*outputs.values(), strict=True):
        expected = encode_mask_results(dense.masks.numpy())
        assert list(rle.masks) == list(crop.masks) == expected
        assert rle.masks.shape == crop.masks.shape == dense.masks.shape
        torch.testing.assert_close(rle.bboxes, dense.bboxes)
        for mask, bitmap in zip(crop.masks, dense.masks.numpy(), strict=True):
            (column, row), (rows, columns) = mask.corner, mask.bitmap.shape
            whole = np.zeros_like(bitmap)
            whole[row : row + rows, column : column + columns] = mask.bitmap
            assert np.array_equal(whole, bitmap)
        assert all(mask.bitmap is None for mask in rle.masks)


def samples(output='rle', count=5):
    """A prediction of one image with its dense twin."""
    x, found = [level.detach() for level in feature_levels(images=1)], detections([count])
    made = []
    for kind in (output, 'dense'):
        sample = DetDataSample(metainfo={**META, 'img_id': 1, 'img_path': 'a.jpg'})
        (sample.pred_instances,) = masks_of(HEADS[True][kind], x, found, [META])
        sample.pred_instances.scores = torch.linspace(0.9, 0.1, count)
        made.append(sample)
    return made


def test_detections_are_selected_and_joined_like_tensors():
    sparse, dense = (sample.pred_instances for sample in samples())
    for chosen in (
        sparse.scores > 0.4,
        torch.tensor([3, 0]),
        slice(1, 4),
        torch.tensor([], dtype=torch.long),
    ):
        assert np.array_equal(sparse[chosen].masks.astype(bool), dense[chosen].masks.numpy())
        assert isinstance(sparse[chosen].masks, SparseMasks)
    joined = InstanceData.cat([sparse[:2], sparse[2:]])
    assert joined.masks == sparse.masks
    assert sparse.to('cpu').masks is sparse.numpy().masks is sparse.masks
    assert pickle.loads(pickle.dumps(sparse.masks)) == sparse.masks
    assert copy.deepcopy(sparse.masks) == sparse.masks


@pytest.mark.parametrize('output', ['rle', 'crop'])
@pytest.mark.parametrize('count', [0, 5])
def test_dumped_results_are_those_of_dense_masks(output, count, tmp_path):
    dumped = []
    for sample in samples(output, count):
        metric = DumpDetResults(str(tmp_path / 'a.pkl'))
        metric.process({}, [sample.to_dict()])
        dumped.append(metric.results[0]['pred_instances']['masks'])
    assert dumped[0] == dumped[1]


@pytest.mark.parametrize('output', ['rle', 'crop'])
@pytest.mark.parametrize('count', [0, 5])
def test_an_inferencers_dicts_are_those_of_dense_masks(output, count):
    inferencer = DetInferencer.__new__(DetInferencer)
    sparse, dense = (json.dumps(inferencer.pred2dict(sample)) for sample in samples(output, count))
    assert sparse == dense


@pytest.mark.parametrize('output', ['rle', 'crop'])
def test_the_visualizer_draws_what_it_draws_of_dense_masks(output):
    pictures = []
    for sample in samples(output):
        visualizer = DetLocalVisualizer()
        visualizer.dataset_meta = {
            'classes': list('abcde'),
            'palette': [(200, 10 * n, 0) for n in range(5)],
        }
        # Colours are jittered.
        np.random.seed(0)
        visualizer.add_datasample(
            'a', np.zeros((96, 128, 3), np.uint8), sample, draw_gt=False, pred_score_thr=0.3
        )
        pictures.append(visualizer.get_image())
    assert np.array_equal(*pictures)
    assert pictures[0].any()


@pytest.mark.parametrize('output', ['rle', 'crop'])
def test_coco_metric_scores_them_as_dense_masks(output, tmp_path):
    sparse, dense = samples(output)
    truth = encode_mask_results(dense.pred_instances.masks.numpy())
    annotations = [
        {
            'id': number + 1,
            'image_id': 1,
            'category_id': int(label) + 1,
            'iscrowd': 0,
            'area': float(coco_mask.area(mask)),
            'bbox': coco_mask.toBbox(mask).tolist(),
            'segmentation': {'size': mask['size'], 'counts': mask['counts'].decode()},
        }
        for number, (label, mask) in enumerate(zip(dense.pred_instances.labels, truth, strict=True))
    ]
    data = {
        'images': [{'id': 1, 'height': 96, 'width': 128}],
        'categories': [{'id': number + 1, 'name': name} for number, name in enumerate('abcde')],
        'annotations': annotations,
    }
    (tmp_path / 'a.json').write_text(json.dumps(data))
    figures = []
    for sample in (sparse, dense):
        metric = CocoMetric(ann_file=str(tmp_path / 'a.json'), metric=['bbox', 'segm'])
        metric.dataset_meta = {'classes': tuple('abcde')}
        metric.process({}, [sample.to_dict()])
        figures.append(metric.evaluate(1))
    assert figures[0] == figures[1]
    assert figures[0]['coco/segm_mAP'] > 0.5


def test_probabilities_have_no_run_lengths():
    config = change('test_cfg.mask_output', 'rle')
    config.test_cfg.mask_thr_binary = -1
    with pytest.raises(ConfigError, match="mask_output is 'rle', but mask_thr_binary is -1"):
        build_roi_head(config)


@pytest.mark.parametrize('value', ['RLE', True, None, ['rle']])
def test_other_outputs_are_refused(value):
    with pytest.raises(ConfigError, match=r'test_cfg\.rcnn\.mask_output'):
        build_roi_head(change('test_cfg.mask_output', value))


def test_masks_that_would_take_gigabytes_stay_sparse():
    runs = {'size': [20000, 20000], 'counts': [20000 * 20000]}
    mask = SparseMask(coco_mask.frPyObjects([runs], 20000, 20000)[0])
    masks = SparseMasks([mask] * 100, (20000, 20000))
    with pytest.raises(InputError, match='100 masks of 20000x20000 would take 37 GB'):
        masks.astype(bool)
