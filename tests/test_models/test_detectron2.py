# Copyright (c) The mmpointrend authors.
"""Our heads with detectron2's weights give what detectron2 itself gave (fixtures of the shared data folder)."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import DefaultScope
from tiny_heads import fpn_head, roi_head_config

from mmpointrend.registry import MODELS


@pytest.fixture
def fixture(shared_dir, request):
    """Weights and answers of one model, as tensors by name."""
    folder = shared_dir / 'fixtures' / 'detectron2'
    return tuple(
        {name: torch.from_numpy(np.array(array)) for name, array in np.load(path).items()}
        for path in (
            folder / f'{request.param}_weights.npz',
            folder / f'{request.param}_expected.npz',
        )
    )


def renamed(weights, prefix, names):
    """The weights below ``prefix``, each name's longest part in ``names`` replaced."""
    state = {}
    for name, value in weights.items():
        if not name.startswith(prefix):
            continue
        module, _, kind = name.removeprefix(prefix).rpartition('.')
        state[f'{names[module]}.{kind}'] = value
    return state


POINT_NAMES = {f'fc{i + 1}': f'fcs.{i}.conv' for i in range(3)} | {'predictor': 'fc_logits'}


@pytest.mark.parametrize('fixture', ['instance_r50'], indirect=True)
def test_mask_head_is_detectron2s(fixture):
    weights, expected = fixture
    config = roi_head_config()
    for part in ('bbox_head', 'mask_head', 'point_head'):
        config[part].num_classes = 4
    config.point_head.fc_channels = 16
    config.train_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MMDET_MODELS.build(config).eval()
    coarse_names = {
        'reduce_spatial_dim_conv': 'downsample_conv.conv',
        'fc1': 'fcs.0',
        'fc2': 'fcs.1',
        'prediction': 'fc_logits',
    }
    prefix = 'roi_heads.mask_head.'
    head.mask_head.load_state_dict(renamed(weights, f'{prefix}coarse_head.', coarse_names))
    head.point_head.load_state_dict(renamed(weights, f'{prefix}point_head.', POINT_NAMES))
    x = [expected[f'feat_p{level}'] for level in range(2, 7)]
    rois = bbox2roi([expected['boxes']])
    with torch.no_grad():
        coarse = head._mask_forward(x, rois)['mask_preds']
        torch.testing.assert_close(coarse, expected['coarse_logits'], atol=1e-4, rtol=0)
        rendered = head._render(x, rois, expected['classes'], coarse).sigmoid()
    # Ties of uncertainties may move single points.
    agree = (rendered - expected['mask_probs']).abs() < 1e-4
    assert agree.float().mean() > 0.9999


@pytest.mark.parametrize('fixture', ['semantic_r50'], indirect=True)
def test_semantic_head_is_detectron2s(fixture):
    weights, expected = fixture
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MODELS.build(
            dict(
                type='mmpointrend.PointRendHead',
                coarse_head=fpn_head(),
                point_head=dict(
                    in_channels=16,
                    in_index=0,
                    channels=16,
                    num_fcs=3,
                    coarse_pred_each_layer=False,
                ),
                subdivision_num_points=512,
            )
        ).eval()
    head.point_head.load_state_dict(renamed(weights, 'sem_seg_head.point_head.', POINT_NAMES))
    # detectron2's coarse head has GroupNorm and other names: its answer stands in for it.
    head.coarse_head.forward = lambda inputs: expected['coarse_logits']
    with torch.no_grad():
        rendered = head([expected[f'feat_p{level}'] for level in range(2, 6)])
    agree = ((rendered - expected['refined_logits']).abs() < 1e-4).all(dim=1)
    assert agree.float().mean() > 0.999
