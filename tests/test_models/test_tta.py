# Copyright (c) The mmpointrend authors.
"""Merged labels against the average of the probabilities, written out."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel as MMSegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from mmpointrend.models import SegTTAModel


class Segmentor(nn.Module):
    """What the merging asks of a segmentor."""

    def __init__(self, out_channels: int, threshold: float | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.decode_head = nn.Module()
        self.decode_head.threshold = threshold

    def test_step(self, data: object) -> None:
        """Asked for by mmengine."""


def samples(*maps: torch.Tensor) -> list[SegDataSample]:
    """One image, augmented."""
    made = []
    for index, values in enumerate(maps):
        sample = SegDataSample(metainfo=dict(img_path='a.png', flip=index == 1))
        sample.seg_logits = PixelData(data=values)
        sample.gt_sem_seg = PixelData(data=torch.full((1, *values.shape[1:]), index))
        made.append(sample)
    return made


def test_many_classes_by_the_mean_of_the_softmax():
    """Pixel 0: the second map is sure of class 1; pixel 1: the mean of the logits would differ."""
    one = torch.tensor([[0.2, 2.0], [0.0, 0.0], [0.0, -9.0]])[:, None]
    two = torch.tensor([[0.0, 2.0], [3.0, 0.0], [0.0, -9.0]])[:, None]
    three = torch.tensor([[0.0, -6.0], [0.0, 0.0], [0.0, -9.0]])[:, None]
    maps = (one, two, three)
    (merged,) = SegTTAModel(module=Segmentor(3)).merge_preds([samples(*maps)])
    expected = [
        sum(values[:, 0, x].exp() / values[:, 0, x].exp().sum() for values in maps) for x in (0, 1)
    ]
    assert merged.pred_sem_seg.data.tolist() == [[[int(p.argmax()) for p in expected]]]
    assert merged.pred_sem_seg.data.tolist() == [[[1, 0]]]
    assert sum(maps)[:, 0, 1].argmax() == 1
    assert merged.pred_sem_seg.data.dtype == torch.int64


def test_one_class_by_the_mean_of_the_probabilities():
    """Segmentors hand out sigmoid probabilities: 0.1 and 0.3 are background, 0.2 and 0.9 are
    not."""
    maps = (torch.tensor([[[0.1, 0.2]]]), torch.tensor([[[0.3, 0.9]]]))
    (merged,) = SegTTAModel(module=Segmentor(1, threshold=0.5)).merge_preds([samples(*maps)])
    assert merged.pred_sem_seg.data.tolist() == [[[0.0, 1.0]]]
    # The fault of mmseg's own: all is foreground.
    (theirs,) = MMSegTTAModel(module=Segmentor(1, threshold=0.5)).merge_preds([samples(*maps)])
    assert theirs.pred_sem_seg.data.tolist() == [[[1.0, 1.0]]]


@pytest.mark.parametrize('channels', [1, 3])
def test_one_augmentation_changes_nothing_and_inputs_stay(channels):
    values = torch.rand(channels, 5, 7)
    given = samples(values.clone())
    (merged,) = SegTTAModel(module=Segmentor(channels, 0.4)).merge_preds([given])
    expected = (values > 0.4).float() if channels == 1 else values.argmax(0, keepdim=True)
    assert torch.equal(merged.pred_sem_seg.data, expected)
    assert torch.equal(given[0].seg_logits.data, values)
    assert merged.img_path == 'a.png' and 'seg_logits' not in merged


def test_images_are_merged_apart_and_carry_the_first_ground_truth():
    maps = [torch.eye(3)[:, :, None] * scale for scale in (1.0, 2.0)]
    merged = SegTTAModel(module=Segmentor(3)).merge_preds(
        [samples(*maps), samples(maps[1].flip(0))]
    )
    assert [sample.pred_sem_seg.data.flatten().tolist() for sample in merged] == [
        [0, 1, 2],
        [2, 1, 0],
    ]
    assert merged[0].gt_sem_seg.data.unique().tolist() == [0]
