# Copyright (c) The mmpointrend authors.
"""Heads that count other classes than the dataset are named."""

import pytest
from torch import nn

from mmpointrend.engine.checks import check_class_counts
from mmpointrend.errors import ConfigError


class Heads(nn.Module):
    """A model with heads of given class counts."""

    def __init__(self, **counts: int) -> None:
        super().__init__()
        for name, count in counts.items():
            head = nn.Module()
            head.num_classes = count
            self.add_module(name, head)


class TestClassCounts:
    DATASET = type('Dataset', (), dict(metainfo=dict(classes=('a', 'b', 'c', 'd'))))()

    @pytest.mark.parametrize(
        'head', ['bbox_head', 'mask_head', 'point_head', 'decode_head', 'auxiliary_head']
    )
    def test_head_that_disagrees_is_named(self, head):
        model = nn.ModuleDict(dict(roi_head=Heads(**{head: 80})))
        with pytest.raises(
            ConfigError,
            match=rf'model\.roi_head\.{head}\.num_classes is 80, but the dataset of val_dataloader '
            r'has 4 classes \(a, b, c, \.\.\.\)',
        ):
            check_class_counts(model, self.DATASET, 'val_dataloader')

    def test_cascades_and_wrapped_models(self):
        heads = nn.ModuleList([Heads(), Heads()])
        heads[1].num_classes = 3
        model = nn.ModuleDict(dict(module=nn.ModuleDict(dict(bbox_head=heads))))
        with pytest.raises(ConfigError, match=r'model\.bbox_head\.num_classes is 3'):
            check_class_counts(model, self.DATASET, 'train_dataloader')

    def test_those_that_agree_and_those_that_count_something_else(self):
        model = Heads(bbox_head=4, point_head=4, rpn_head=1, backbone=1000)
        check_class_counts(model, self.DATASET, 'train_dataloader')
        check_class_counts(Heads(bbox_head=9), object(), 'train_dataloader')
        agnostic = Heads(mask_head=1)
        agnostic.mask_head.class_agnostic = True
        check_class_counts(agnostic, self.DATASET, 'train_dataloader')

    def test_classes_given_as_text(self):
        dataset = type('Dataset', (), dict(metainfo=dict(classes='cat')))()
        with pytest.raises(ConfigError, match=r"is the text 'cat': write a tuple, \('cat',\)"):
            check_class_counts(Heads(), dataset, 'train_dataloader')
