# Copyright (c) The mmpointrend authors.
"""What each ablation changes of PointRend R50 1x, or of its baseline, and that it changes nothing else."""

import pytest
from resolved_configs import CONFIGS, differences, plain

PARENT = 'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'
STEPS = 'model.test_cfg.rcnn.subdivision_steps'
POINTS = 'model.test_cfg.rcnn.subdivision_num_points'
TRAIN = 'model.train_cfg.rcnn'
HEAD = 'model.roi_head'

CHANGES = {
    # Table 3: 7 doubled so many times; points a step.
    'output-28': {STEPS: 2},
    'output-56': {STEPS: 3},
    'output-112': {STEPS: 4},
    'output-224': {},
    'n-14x14': {POINTS: 196},
    'n-28x28': {},
    'n-56x56': {POINTS: 3136},
    'n-112x112': {POINTS: 12544},
    # Table 4, at 14x14 points: k and beta.
    '196-points-regular': {
        f'{TRAIN}.point_selection': {'type': 'mmpointrend.RegularGridSelection'},
    },
    '196-points-uniform': {
        f'{TRAIN}.oversample_ratio': 1,
        f'{TRAIN}.importance_sample_ratio': 0.0,
    },
    '196-points-mildly-biased': {},
    '196-points-heavily-biased': {
        f'{TRAIN}.oversample_ratio': 10,
        f'{TRAIN}.importance_sample_ratio': 1.0,
    },
    # Remarks of the text: other numbers of points, other k and beta, other boxes.
    '49-points-regular': {
        f'{TRAIN}.num_points': 49,
        f'{TRAIN}.point_selection': {'type': 'mmpointrend.RegularGridSelection'},
    },
    '49-points-uniform': {
        f'{TRAIN}.num_points': 49,
        f'{TRAIN}.oversample_ratio': 1,
        f'{TRAIN}.importance_sample_ratio': 0.0,
    },
    '49-points-mildly-biased': {f'{TRAIN}.num_points': 49},
    '49-points-heavily-biased': {
        f'{TRAIN}.num_points': 49,
        f'{TRAIN}.oversample_ratio': 10,
        f'{TRAIN}.importance_sample_ratio': 1.0,
    },
    '784-points': {f'{TRAIN}.num_points': 784},
    'k-2': {f'{TRAIN}.oversample_ratio': 2},
    'k-5': {f'{TRAIN}.oversample_ratio': 5},
    'beta-90-percent': {f'{TRAIN}.importance_sample_ratio': 0.9},
    'proposal-boxes': {f'{TRAIN}.train_on_pred_boxes': False},
    # The point head.
    'mlp-1x256': {f'{HEAD}.point_head.num_fcs': 1},
    'mlp-2x256': {f'{HEAD}.point_head.num_fcs': 2},
    'mlp-4x256': {f'{HEAD}.point_head.num_fcs': 4},
    'mlp-3x128': {f'{HEAD}.point_head.fc_channels': 128},
    'mlp-3x512': {f'{HEAD}.point_head.fc_channels': 512},
    'class-agnostic': {
        f'{HEAD}.mask_head.class_agnostic': True,
        f'{HEAD}.point_head.class_agnostic': True,
    },
    'fine-p2-p3': {f'{HEAD}.mask_roi_extractor.featmap_strides': [4, 8]},
}
BASELINES = {
    'mask-rcnn_r50-1x_predicted-boxes_coco': {
        f'{HEAD}.type': 'mmpointrend.StandardRoIHead',
        f'{TRAIN}.train_on_pred_boxes': True,
    },
}


def test_every_ablation_is_listed():
    names = {path.stem for path in (CONFIGS / 'ablation').glob('*.py')}
    assert names == {*(f'pointrend_r50-1x_{change}_coco' for change in CHANGES), *BASELINES}


@pytest.mark.parametrize('change', CHANGES)
def test_changes_nothing_else(read, change):
    parent, child = plain(read(PARENT)), plain(read(f'pointrend_r50-1x_{change}_coco'))
    assert differences(parent, child) == CHANGES[change]


@pytest.mark.parametrize('name', BASELINES)
def test_changes_nothing_else_of_the_baseline(read, name):
    parent = plain(read(PARENT.removeprefix('pointrend_')))
    assert differences(parent, plain(read(name))) == BASELINES[name]


@pytest.mark.parametrize('strategy', ['regular', 'uniform', 'mildly-biased', 'heavily-biased'])
def test_49_points_are_those_of_table_4_but_for_their_number(read, strategy):
    many, few = (
        plain(read(f'pointrend_r50-1x_{points}-points-{strategy}_coco')) for points in (196, 49)
    )
    assert many['model']['train_cfg']['rcnn']['num_points'] == 196
    assert differences(many, few) == {f'{TRAIN}.num_points': 49}
