# Copyright (c) The mmpointrend authors.
"""``mmpointrend doctor CONFIG``: what is wrong with a config is found in one call, each with its cure."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from tiny_runs import write_config, write_data

from mmpointrend.apis.doctor import _bytes_for_backward, examine_config, run_doctor
from mmpointrend.installation import Finding


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / 'data')


def examine(task: str, data: Path, *changes: str) -> list[Finding]:
    """Findings about a tiny config with some lines added to it."""
    path = write_config(task, data.parent, data, length=1)
    path.write_text('\n'.join([path.read_text(), *changes]) + '\n')
    return list(examine_config(str(path)))


def texts(findings: list[Finding], kind: str) -> list[str]:
    return [text for found, text in findings if found == kind]


@pytest.mark.parametrize('task', ['instance', 'semantic'])
def test_nothing_is_wrong(task, data, capsys):
    path = write_config(task, data.parent, data, length=1)
    assert run_doctor(str(path)) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f'ok      {path}: {task} segmentation'
    assert printed[-1].startswith('0 failed, ')
    for start in (
        'train_dataloader: 6 images',
        'val_dataloader: 6 images',
        'a training step needs',
    ):
        assert sum(line.startswith(f'ok      {start}') for line in printed) == 1, start
    # The same as for validation.
    assert not any('test_dataloader' in line for line in printed)


def test_faults_of_model_files_and_data_come_together(data):
    (data / 'images' / '03.png').unlink()
    image = cv2.imread(str(data / 'images' / '00.png'))
    cv2.imwrite(str(data / 'images' / '00.png'), image[:32])
    content = json.loads((data / 'annotations.json').read_text())
    content['annotations'][0]['segmentation'] = [[1.0, 2.0]]
    (data / 'annotations.json').write_text(json.dumps(content))
    findings = examine(
        'instance',
        data,
        "model['train_cfg']['rcnn']['mask_size'] = 14",
        "load_from = 'nowhere.pth'",
        "val_evaluator = dict(type='CocoMetric', ann_file='nowhere.json')",
    )
    failures = texts(findings, 'FAILED')
    for wanted in (
        'train_cfg.rcnn.mask_size is 14, but roi_head.mask_head gives masks of 7x7: set it to 7',
        'load_from is nowhere.pth, which does not exist: set it to a checkpoint, or to None',
        f'train_dataloader: 1 file does not exist, such as {data}/images/03.png: set data_root and data_prefix, or '
        'take them out of the annotations',
        f'the image {data}/images/00.png is 64 x 32 pixels',
        'the annotation file nowhere.json does not exist',
    ):
        assert sum(wanted in failure for failure in failures) == 1, (wanted, failures)
    (warning,) = (text for text in texts(findings, 'warning') if 'annotations' in text)
    assert '1 of 12' in warning
    # What can still be looked at is.
    assert any(text.startswith('test_evaluator: CocoMetric') for text in texts(findings, 'ok'))


def test_class_counts_are_held_against_the_data(data):
    findings = examine(
        'instance',
        data,
        "for head in ('bbox_head', 'mask_head', 'point_head'):",
        "    model['roi_head'][head]['num_classes'] = 3",
        'del head',
    )
    (train, val, test, *_) = texts(findings, 'FAILED') + [''] * 3
    assert train.startswith(
        'model.roi_head.bbox_head.num_classes is 3, but the dataset of train_dataloader has 2'
    )
    assert 'val_dataloader' in val and not test


def test_labels_that_the_head_does_not_know(data):
    labels = cv2.imread(str(data / 'labels' / '00.png'), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(data / 'labels' / '00.png'), labels * 4)
    failures = texts(examine('semantic', data), 'FAILED')
    (failure,) = failures
    assert f'{data}/labels/00.png holds label 4, but the head has 3 classes' in failure


def test_points_that_are_the_whole_map(data):
    """8 x 8 pixels and 64 points, as the tiny config has it; 16 points are a quarter."""
    assert any(
        'covers all 64 pixels' in text for text in texts(examine('semantic', data), 'warning')
    )
    findings = examine('semantic', data, "model['test_cfg']['subdivision_num_points'] = 16")
    assert not any('covers all' in text for text in texts(findings, 'warning'))
    # 16 of 4 x 4 and 16 of 8 x 8; the first are skipped only where the next step predicts them anew.
    assert any('maps of 8 x 8 are rendered in 2 steps, by 50%' in t for t in texts(findings, 'ok'))


def test_batch_of_one_for_a_normalisation_of_one_pixel(data):
    findings = examine(
        'semantic',
        data,
        "model['data_preprocessor']['size'] = (32, 32)",
        "model['decode_head']['coarse_head'] = dict(type='ASPPHead', in_channels=64, in_index=3, channels=8,",
        "    dilations=(1, 6), num_classes=3, norm_cfg=dict(type='BN'))",
        "train_dataloader['batch_size'] = 1",
    )
    assert any(
        text.startswith('train_dataloader.batch_size is 1, but model.')
        for text in texts(findings, 'FAILED')
    )
    assert any('a training step needs' in text for text in texts(findings, 'ok'))


@pytest.mark.parametrize('name', ['nowhere.py', 'pointrend_mask-rcnn_r50'])
def test_no_such_config(name, capsys):
    assert run_doctor(name) == 1
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and printed[0].startswith('FAILED  ') and name in printed[0]
    assert printed[1] == '1 failed, 0 warnings'


def test_data_that_are_not_there(data):
    shutil.rmtree(data)
    failures = texts(examine('instance', data), 'FAILED')
    assert sum('the annotation file' in text and 'does not exist' in text for text in failures) >= 2


class _Chain(torch.nn.Module):
    """Three layers whose backward pass needs known tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(10, 20, bias=False)

    def data_preprocessor(self, batch, training):
        assert training
        return batch

    def forward(self, inputs, mode):
        assert mode == 'loss'
        return torch.sigmoid(self.layer(inputs)).square().sum()

    def parse_losses(self, losses):
        return losses, {}


def test_bytes_for_the_backward_pass():
    """Kept in 32 bits: the input (5 x 10), the sigmoid's output (5 x 20), which the square needs as well."""
    assert _bytes_for_backward(_Chain(), dict(inputs=torch.rand(5, 10))) == 4 * (5 * 10 + 5 * 20)
