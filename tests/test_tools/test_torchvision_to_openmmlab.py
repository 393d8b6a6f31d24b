# Copyright (c) The mmpointrend authors.
"""MobileNetV2's weights of torchvision, renamed: against files renamed by hand, mmdet's and mmseg's backbones, and
torchvision itself."""

import runpy
import sys
from pathlib import Path

import mmdet.models  # noqa: F401
import mmseg.models  # noqa: F401
import pytest
import torch
from mmengine.registry import MODELS

from mmpointrend.errors import CheckpointError

PARTS = {
    'mmdet': dict(type='mmdet.MobileNetV2', out_indices=(1, 2, 4, 7)),
    'mmseg': dict(type='mmseg.MobileNetV2', out_indices=(1, 2, 4, 6)),
}
# Where these stages end in torchvision's `features`.
ENDS = {'mmdet': (3, 6, 13, 18), 'mmseg': (3, 6, 13, 17)}
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


@pytest.fixture(scope='module')
def tool(repo):
    return runpy.run_path(str(repo / 'tools' / 'model_converters' / 'torchvision_to_openmmlab.py'))


def torchvision_names() -> list[str]:
    """Names of torchvision's state dict, in its order."""

    def layer(convolution: str, norm: str) -> list[str]:
        return [f'{convolution}.weight', *(f'{norm}.{name}' for name in NORM)]

    names = layer('features.0.0', 'features.0.1')
    for number in range(1, 18):
        wrapped = 1 if number == 1 else 2
        for index in range(wrapped):
            place = f'features.{number}.conv.{index}'
            names += layer(f'{place}.0', f'{place}.1')
        place = f'features.{number}.conv'
        names += layer(f'{place}.{wrapped}', f'{place}.{wrapped + 1}')
    names += layer('features.18.0', 'features.18.1')
    return [*names, 'classifier.1.weight', 'classifier.1.bias']


def published(shared_dir: Path) -> dict[str, torch.Tensor]:
    """The published weights under torchvision's names; the classifier is of no use."""
    content = torch.load(
        shared_dir / 'weights' / 'mobilenet_v2-b0353104_mmdet.pth', weights_only=True
    )
    tensors = [*content['state_dict'].values(), torch.zeros(1000, 1280), torch.zeros(1000)]
    return dict(zip(torchvision_names(), tensors, strict=True))


@pytest.mark.parametrize('package', PARTS)
def test_gives_the_files_renamed_by_hand(repo, shared_dir, tmp_path, package, monkeypatch, capsys):
    torch.save(published(shared_dir), tmp_path / 'mobilenet_v2-b0353104.pth')
    script = repo / 'tools' / 'model_converters' / 'torchvision_to_openmmlab.py'
    target = tmp_path / 'weights' / f'{package}.pth'
    words = [tmp_path / 'mobilenet_v2-b0353104.pth', target, '--to', package]
    monkeypatch.setattr(sys, 'argv', [str(script), *map(str, words)])
    runpy.run_path(str(script), run_name='__main__')
    ours = torch.load(target, weights_only=True)['state_dict']
    by_hand = torch.load(
        shared_dir / 'weights' / f'mobilenet_v2-b0353104_{package}.pth', weights_only=True
    )['state_dict']
    assert list(ours) == list(by_hand)
    assert all(torch.equal(ours[name], by_hand[name]) for name in ours)
    assert capsys.readouterr().out == f'{target}: {len(by_hand)} tensors for {package}\n'


@pytest.mark.parametrize('package', PARTS)
def test_fills_the_backbone(tool, package):
    weights = dict.fromkeys(torchvision_names(), torch.zeros(()))
    backbone = MODELS.build(PARTS[package]).state_dict()
    assert set(tool['rename'](weights, package)) == set(backbone)


@pytest.mark.parametrize('package', PARTS)
def test_computes_what_torchvision_computes(tool, package):
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        # A build for another torch lacks its own operators.
        pytest.skip(f'torchvision is not installed for this torch ({error})')
    torch.manual_seed(0)
    theirs = torchvision.models.mobilenet_v2().eval()
    for name, tensor in theirs.state_dict().items():
        if name.endswith(('bias', 'running_mean')):
            tensor.normal_()
        elif name.endswith('running_var') or tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    assert list(theirs.state_dict()) == torchvision_names()
    ours = MODELS.build(PARTS[package])
    ours.eval()  # which returns nothing
    ours.load_state_dict(tool['rename'](theirs.state_dict(), package))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, x = [], image
        for index, layer in enumerate(theirs.features):
            x = layer(x)
            if index in ENDS[package]:
                expected.append(x)
        levels = ours(image)
    for level, other in zip(levels, expected, strict=True):
        torch.testing.assert_close(level, other)


def test_other_weights_are_refused(tool):
    with pytest.raises(
        CheckpointError, match=r"layer1\.0\.weight is not of torchvision's MobileNetV2"
    ):
        tool['rename']({'layer1.0.weight': torch.zeros(1)}, 'mmdet')
    weights = dict.fromkeys(torchvision_names(), torch.zeros(()))
    del weights['features.5.conv.1.0.weight']
    with pytest.raises(CheckpointError, match='311 of the 312 tensors'):
        tool['rename'](weights, 'mmdet')
    weights['features.5.conv.4.weight'] = torch.zeros(())
    with pytest.raises(CheckpointError, match=r'features\.5\.conv\.4\.weight is not'):
        tool['rename'](weights, 'mmdet')
