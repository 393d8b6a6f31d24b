# Copyright (c) The mmpointrend authors.
"""Where configs and weights may come from, and what is said if they cannot."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmpointrend.apis import load_model
from mmpointrend.apis import models as module
from mmpointrend.checkpoints.saving import save_model
from mmpointrend.engine.config_files import find_config_file
from mmpointrend.engine.model_index import published_models
from mmpointrend.errors import CheckpointError, ConfigError

NAME = 'pointrend_mask-rcnn_r18-w16_fpn_1xb4-600i_shapes'


@pytest.fixture(scope='module')
def shapes_weights(tmp_path_factory):
    """Random weights of a config of this package, as our converter writes them."""
    cfg = Config.fromfile(find_config_file(NAME))
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('weights') / 'shapes.pth'
    save_model(path, model.state_dict(), {'config': NAME})
    return path


@pytest.mark.parametrize(
    'name',
    [
        NAME,
        f'{NAME}.py',
        f'shapes/{NAME}.py',
        f'mmpointrend::{NAME}',
        f'mmpointrend::shapes/{NAME}.py',
        f'configs/shapes/{NAME}.py',
    ],
)
def test_a_config_is_found_by_any_of_its_names(name, repo, monkeypatch):
    monkeypatch.chdir(repo)
    assert find_config_file(name).samefile(repo / 'configs' / 'shapes' / f'{NAME}.py')


def test_configs_of_neighbours_are_found_behind_their_package():
    assert find_config_file('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py').is_file()
    with pytest.raises(ConfigError, match=r'there is no config mmdet::none\.py'):
        find_config_file('mmdet::none.py')


def test_model_by_name_has_the_weights_classes_and_colours(shapes_weights):
    model = load_model(NAME, shapes_weights, device='cpu')
    weights = torch.load(shapes_weights, weights_only=True)['state_dict']
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert model.dataset_meta == {'classes': ('object',), 'palette': [(255, 200, 0)]}
    assert not model.training and model.cfg.default_scope == 'mmdet'


def test_checkpoint_with_a_name_of_ours_needs_no_trust(shapes_weights):
    model = load_model(shapes_weights, device='cpu')
    assert type(model.roi_head).__name__ == 'PointRendRoIHead'


@pytest.mark.parametrize('device', ['toaster', 'cuda:99'])
def test_device_that_cannot_be_used_is_refused_before_weights_are_read(device):
    with pytest.raises(ConfigError, match=f'the device {device} cannot be used .*: give cpu'):
        load_model(NAME, 'none.pth', device=device)


def test_config_in_a_checkpoint_is_used_only_if_trusted(tiny):
    with pytest.raises(
        ConfigError, match=r'carries its config, which is Python .* trust_config=True'
    ):
        load_model(tiny.weights, device='cpu')
    model = load_model(tiny.weights, device='cpu', trust_config=True)
    assert model.cfg.model.type == Config.fromfile(tiny.config).model.type
    assert model.dataset_meta['classes'][-2:] == ('disc', 'box')


def test_program_in_a_checkpoint_is_never_run(tiny, tmp_path):
    path = tmp_path / 'evil.pth'
    text = f'open({str(tmp_path / "ran")!r}, "w").write("")\ndefault_scope = "mmdet"'
    save_model(path, torch.load(tiny.weights, weights_only=True)['state_dict'], {'cfg': text})
    with pytest.raises(ConfigError, match='carries no config that can be used'):
        load_model(path, trust_config=True)
    assert not (tmp_path / 'ran').exists()


def test_published_weights_of_a_name_are_fetched(monkeypatch, shapes_weights):
    asked = []

    def fetch(filename, map_location=None):
        asked.append(filename)
        raise CheckpointError('no internet')

    monkeypatch.setattr(module.CheckpointLoader, 'load_checkpoint', fetch)
    for name in ('pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco', NAME):
        with pytest.raises(CheckpointError, match='no internet'):
            load_model(name)
    assert asked == [
        'https://download.openmmlab.com/mmdetection/v2.0/point_rend/point_rend_r50_caffe_fpn_mstrain_1x_coco/'
        'point_rend_r50_caffe_fpn_mstrain_1x_coco-1bcb5fb4.pth',
        f'unpublished://{NAME}',
    ]


def test_a_name_without_published_weights_says_how_to_get_some():
    with pytest.raises(CheckpointError, match=f'no weights of {NAME} are published: train it'):
        load_model(NAME)


def test_without_internet_a_sentence_says_where_the_file_goes(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')
    with pytest.raises(CheckpointError) as error:
        load_model('pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024')
    file = 'pointrend_r50_512x1024_80k_cityscapes_20200711_015821-bb1ff523.pth'
    assert f'/{file} cannot be downloaded' in str(error.value)
    assert str(error.value).endswith(f'or put it at {tmp_path}/checkpoints/{file}.')


def test_own_config_has_no_published_weights(tiny):
    with pytest.raises(ConfigError, match='is not one of mmpointrend, whose published weights'):
        load_model(tiny.config)


def test_two_checkpoints_or_a_config_that_was_read(tiny):
    with pytest.raises(ConfigError, match='are both checkpoints'):
        load_model(tiny.weights, tiny.weights)
    with pytest.raises(ConfigError, match='give weights'):
        load_model(Config.fromfile(tiny.config))
    assert load_model(Config.fromfile(tiny.config), tiny.weights, device='cpu').cfg.work_dir


def test_weights_of_another_model_are_refused(instance, semantic):
    with pytest.raises(CheckpointError, match=r'does not fit the model to predict with.*missing'):
        load_model(instance.config, semantic.weights, device='cpu')
    with pytest.raises(
        CheckpointError, match=r'does not fit the model to predict with.*another shape'
    ):
        load_model(
            instance.config,
            instance.weights,
            device='cpu',
            cfg_options={'model.roi_head.bbox_head.fc_out_channels': 16},
        )


def test_detectron2_s_weights_are_converted(shared_dir, tmp_path):
    from tiny_detectron2 import tiny_config

    folder = shared_dir / 'fixtures' / 'detectron2'
    arrays = dict(np.load(folder / 'instance_r50_weights.npz'))
    pickled = tmp_path / 'model_final.pkl'
    pickled.write_bytes(pickle.dumps({'model': arrays, '__author__': 'Detectron2 Model Zoo'}))
    of_training = tmp_path / 'model_final.pth'
    torch.save(
        {'model': {name: torch.as_tensor(value) for name, value in arrays.items()}}, of_training
    )
    model = None
    for path in (folder / 'instance_r50_weights.npz', pickled, of_training):
        other = load_model(tiny_config('instance_r50'), path, device='cpu')
        if model is not None:
            for one, two in zip(model.parameters(), other.parameters(), strict=True):
                assert torch.equal(one, two)
        model = other
    kernel = arrays['roi_heads.mask_head.point_head.fc1.weight']
    assert np.array_equal(model.roi_head.point_head.fcs[0].conv.weight.detach().numpy(), kernel)
    with pytest.raises(
        CheckpointError, match=r'model_final\.pkl: the weights are of another model'
    ):
        load_model(NAME, pickled)


def test_every_model_says_where_its_weights_are(repo):
    models = published_models()
    assert all(entry.config.is_file() for entry in models.values())
    published = {entry.weights for entry in models.values() if entry.is_published}
    assert len(published) == 6
    theirs = set()
    import mmdet
    import mmseg
    import yaml

    for package, file in ((mmdet, 'metafile.yml'), (mmseg, 'metafile.yaml')):
        path = f'{package.__path__[0]}/.mim/configs/point_rend/{file}'
        with open(path) as content:
            theirs |= {model['Weights'] for model in yaml.safe_load(content)['Models']}
    assert published == theirs
    for file in repo.glob('configs/*/metafile.yml'):
        for entry in yaml.safe_load(file.read_text())['Models']:
            source = entry['Metadata'].get('Weights Of', entry['Name'])
            assert models[entry['Name']].weights == models[source].weights
            assert (
                models[source].is_published or models[source].weights == f'unpublished://{source}'
            )
