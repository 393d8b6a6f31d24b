# Copyright (c) The mmpointrend authors.
"""Samples as detections of supervision, which is an optional extra."""

import sys

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmpointrend.apis import to_supervision
from mmpointrend.errors import InputError


@pytest.fixture
def instances():
    """Two detections in an image of 4 x 6 pixels."""
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 0, 0] = True
    found = InstanceData(
        bboxes=torch.tensor([[2.0, 1.0, 5.0, 3.0], [0.0, 0.0, 1.0, 1.0]]),
        scores=torch.tensor([0.9, 0.4]),
        labels=torch.tensor([1, 0]),
        masks=masks,
    )
    return DetDataSample(pred_instances=found)


def test_without_supervision_a_sentence_says_how_to_get_it(instances, monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(InputError, match=r'pip install "mmpointrend\[supervision\]"'):
        to_supervision(instances)


def test_instances(instances):
    supervision = pytest.importorskip('supervision')
    detections = to_supervision(instances, classes=('disc', 'box'))
    assert isinstance(detections, supervision.Detections)
    assert detections.xyxy.tolist() == [[2, 1, 5, 3], [0, 0, 1, 1]]
    assert detections.class_id.tolist() == [1, 0]
    assert detections.data['class_name'].tolist() == ['box', 'disc']
    np.testing.assert_array_equal(detections.mask, instances.pred_instances.masks.numpy())
    assert detections.mask.dtype == bool and detections.area.tolist() == [6, 1]
    none = to_supervision(DetDataSample(pred_instances=instances.pred_instances[:0]))
    assert len(none) == 0


def test_label_maps_are_a_detection_for_each_class():
    pytest.importorskip('supervision')
    labels = torch.tensor([[[0, 0, 2], [0, 2, 2]]])
    detections = to_supervision(SegDataSample(pred_sem_seg=PixelData(data=labels)), ('a', 'b', 'c'))
    assert detections.class_id.tolist() == [0, 2] and detections.confidence is None
    assert detections.data['class_name'].tolist() == ['a', 'c']
    np.testing.assert_array_equal(detections.mask, [(labels[0] == k).numpy() for k in (0, 2)])


def test_sample_without_a_prediction_is_refused():
    pytest.importorskip('supervision')
    with pytest.raises(InputError, match='neither pred_instances nor pred_sem_seg'):
        to_supervision(DetDataSample())
