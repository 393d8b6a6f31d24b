# Copyright (c) The mmpointrend authors.
"""The code of docs/polygons.md runs as it stands there."""

import re

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from tiny_heads import META, build_roi_head, detections, feature_levels, roi_head_config


class Detector(torch.nn.Module):
    """What the page calls a model: an RoI head whose features and boxes are given."""

    def __init__(self):
        super().__init__()
        self.roi_head = build_roi_head(roi_head_config())

    @torch.no_grad()
    def test_step(self, batch):
        """Masks of three boxes."""
        (results,) = self.roi_head.predict_mask(batch, [META], detections([3]), rescale=True)
        return [DetDataSample(pred_instances=results)]


@pytest.fixture
def blocks(repo):
    """The page's blocks of Python."""
    return re.findall(r'```python\n(.*?)```', (repo / 'docs/polygons.md').read_text(), re.S)


def run(block, **names):
    """Execute a block; its names."""
    exec(compile(block, 'docs/polygons.md', 'exec'), names)
    return names


def test_of_logits(blocks, capsys):
    assert len(blocks) == 2
    names = run(blocks[0])
    assert re.match(r'\d+ vertices, simplified \d+ and 1 hole', capsys.readouterr().out)
    ring = np.pi * (159.8 / 2.4) ** 2 * (1 - 0.5**2)
    assert names['mask'].sum() == pytest.approx(ring, rel=0.03)


def test_of_a_prediction(blocks, capsys):
    features = [level[:1] for level in feature_levels()]
    names = run(blocks[1], model=Detector(), batch=features)
    assert len(names['sample'].pred_instances.contours) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(re.fullmatch(r'\d\.\d\d \d+ vertices', line) for line in lines)
