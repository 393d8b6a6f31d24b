# Copyright (c) The mmpointrend authors.
"""detectron2's published models, by the names and shapes of their tensors, in the configs of the same name here."""

import json
import pickle

import numpy as np
import pytest
import torch

from mmpointrend.engine import detectron2
from mmpointrend.engine.detectron2 import (
    ZOO,
    build_empty,
    convert,
    find_config,
    load_weights,
    matching_configs,
    our_name,
)
from mmpointrend.errors import CheckpointError, ConfigError

R50 = 'InstanceSegmentation/pointrend_rcnn_R_50_FPN_1x_coco'


@pytest.fixture(scope='module')
def zoo(shared_dir):
    """For each model its tensors, which take no memory."""
    path = shared_dir / 'fixtures' / 'detectron2' / 'zoo_state_dict_shapes.json'
    return {
        name.removesuffix('.yaml'): {
            tensor: torch.zeros(()).expand(shape) for tensor, shape in shapes.items()
        }
        for name, shapes in json.loads(path.read_text()).items()
    }


@pytest.fixture(scope='module')
def config():
    """Config of the R50 model."""
    return find_config(ZOO[R50])


def test_there_are_eight_models(zoo):
    assert len(zoo) == 8
    assert zoo.keys() == ZOO.keys()


@pytest.mark.parametrize('name', ZOO)
def test_every_model_converts_and_loads_strictly(zoo, name):
    cfg = find_config(ZOO[name])
    conversion = convert(zoo[name], cfg)
    assert conversion.dropped == {}
    assert {key.rpartition('.')[2] for key in conversion.filled} == {'num_batches_tracked'}
    assert len(conversion.state_dict) == len(zoo[name]) + len(conversion.filled)
    build_empty(cfg).load_state_dict(conversion.state_dict, strict=True, assign=True)


def test_the_config_is_found_by_the_tensors(zoo, monkeypatch):
    some = {name: config for name, config in ZOO.items() if 'R_50_FPN' in name and 'coco' in name}
    monkeypatch.setattr(detectron2, 'ZOO', some)
    found = matching_configs(zoo['InstanceSegmentation/implicit_pointrend_R_50_FPN_3x_coco'])
    assert list(found) == [
        'implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco',
        'implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco',
    ]
    with pytest.raises(CheckpointError, match=r'fit none.*--config'):
        matching_configs({'a.weight': torch.zeros(1)})


def test_the_papers_semantic_model_is_not_detectron2s(zoo):
    # Its coarse prediction enters each of three hidden layers, and the logits: 19 more inputs.
    weights = zoo['SemanticSegmentation/pointrend_semantic_R_101_FPN_1x_cityscapes']
    assert list(weights['sem_seg_head.point_head.fc2.weight'].shape) == [256, 256, 1]
    cfg = find_config('pointrend_fpn_r101-caffe_8xb4-65k_cityscapes-512x1024')
    assert build_empty(cfg).decode_head.point_head.fcs[1].conv.weight.shape == (256, 275, 1)
    with pytest.raises(CheckpointError, match=r'3 of another shape \(sem_seg_head.point_head.fc2'):
        convert(weights, cfg)


def test_implicit_has_as_many_parameters_as_published(zoo):
    weights = zoo['InstanceSegmentation/implicit_pointrend_R_50_FPN_1x_coco']
    cfg = find_config('implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco')
    head = build_empty(cfg).roi_head
    assert head.point_head.mlp.num_parameters == 283_472
    assert len(weights['roi_heads.mask_head.parameter_head.prediction.bias']) == 283_472


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('roi_heads.mask_point_head.fc3.weight', 'roi_heads.mask_head.point_head.fc3.weight'),
        (
            'roi_heads.mask_point_head.predictor.bias',
            'roi_heads.mask_head.point_head.predictor.bias',
        ),
        (
            'roi_heads.mask_coarse_head.coarse_mask_fc2.bias',
            'roi_heads.mask_head.coarse_head.fc2.bias',
        ),
        (
            'roi_heads.mask_head.coarse_head.coarse_mask_fc1.weight',
            'roi_heads.mask_head.coarse_head.fc1.weight',
        ),
        (
            'roi_heads.mask_coarse_head.reduce_spatial_dim_conv.weight',
            'roi_heads.mask_head.coarse_head.reduce_spatial_dim_conv.weight',
        ),
    ],
)
def test_older_names(zoo, old, new):
    assert new in zoo[R50]
    assert our_name(old) == our_name(new) != new


def test_what_the_config_has_is_named_as_dropped(zoo, config):
    weights = {
        **zoo[R50],
        'pixel_mean': torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1),
        'pixel_std': torch.ones(3, 1, 1),
        'proposal_generator.anchor_generator.cell_anchors.0': torch.zeros(3, 4),
    }
    assert set(convert(weights, config).dropped) == set(weights) - set(zoo[R50])
    weights['pixel_std'] = torch.tensor([57.375, 57.12, 58.395])
    with pytest.raises(CheckpointError, match=r'pixel_std is \[57\..*data_preprocessor \[1\.0'):
        convert(weights, config)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('roi_heads.mask_head.fcn1.weight', torch.zeros(1), r'1 unused \(roi_heads.mask_head.fcn1'),
        (
            'roi_heads.box_head.fc1.bias',
            None,
            r'1 missing \(roi_head.bbox_head.shared_fcs.0.bias\)',
        ),
        ('roi_heads.box_head.fc1.bias', torch.zeros(7), r'1 of another shape \(roi_heads.box_head'),
        # The older name of one that is there: two tensors for one place.
        (
            'roi_heads.mask_point_head.fc1.bias',
            torch.zeros(256),
            r'1 unused \(roi_heads.mask_point',
        ),
    ],
)
def test_what_does_not_fit_is_refused(zoo, config, name, value, message):
    weights = {**zoo[R50], name: value}
    if value is None:
        del weights[name]
    with pytest.raises(CheckpointError, match=f'of another model.*{message}'):
        convert(weights, config)


@pytest.mark.parametrize('suffix', ['.pkl', '.pth', '.npz'])
def test_files(suffix, tmp_path):
    path = str(tmp_path / f'model{suffix}')
    array = np.arange(4, dtype=np.float32)
    if suffix == '.pkl':
        with open(path, 'wb') as file:
            pickle.dump({'model': {'a': array}, '__author__': 'zoo'}, file)
    elif suffix == '.pth':
        torch.save({'model': {'a': torch.from_numpy(array)}, 'iteration': 3}, path)
    else:
        np.savez(path, a=array)
    weights = load_weights(path)
    assert list(weights) == ['a'] and weights['a'].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'model': {'a': 'text'}}, 'a is a str and no tensor'),
        ({'model': {'a': np.array([{}], dtype=object)}}, "the array type 'O8' is not allowed"),
        ({'model': {}}, 'no dict of tensors'),
        ([1], 'no dict of tensors'),
    ],
)
def test_files_without_a_model(content, message, tmp_path):
    path = tmp_path / 'model.pkl'
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=f'model.pkl.*{message}'):
        load_weights(str(path))


def test_other_files(tmp_path):
    with pytest.raises(CheckpointError, match=r'are \.pkl, \.pth or \.npz files'):
        load_weights('model.onnx')
    path = tmp_path / 'model.npz'
    np.savez(path, a=np.ones(1000))
    whole = path.read_bytes()
    altered = whole[:4000] + b'#' + whole[4001:]
    np.save(open(path, 'wb'), np.ones(3))  # noqa: SIM115
    single = path.read_bytes()
    for content in (b'', b'PK', single, whole[:4000], altered):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'model\.npz is no archive of arrays'):
            load_weights(str(path))
    np.savez(path, a=np.array(['text']))
    with pytest.raises(CheckpointError, match='a is a ndarray and no tensor'):
        load_weights(str(path))


def test_the_other_byte_order(tmp_path):
    np.savez(tmp_path / 'model.npz', a=np.array([1.5, 2], '>f4'))
    assert load_weights(str(tmp_path / 'model.npz'))['a'].tolist() == [1.5, 2]


def test_a_part_of_a_config_is_refused(repo):
    with pytest.raises(ConfigError, match=r'sgd-90k\.py has no model'):
        find_config(str(repo / 'configs' / '_base_' / 'schedules' / 'sgd-90k.py'))


def test_configs_are_found_by_name_and_path(tmp_path):
    name = ZOO[R50]
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = 'mmpointrend::instance/{name}.py'\n")
    for way in (name, f'configs/instance/{name}.py', str(path)):
        assert find_config(way).train_cfg.max_iters == 90000
    with pytest.raises(ConfigError, match='no config nobody'):
        find_config('nobody')
