# Copyright (c) The mmpointrend authors.
"""Options of the semantic task that the reference configs leave alone."""

import pytest
import torch
from tiny_heads import (
    HEIGHT,
    NUM_CLASSES,
    WIDTH,
    build_segmentor,
    fpn_head,
    point_head,
    pointrend,
    semantic_batch,
)

from mmpointrend.errors import ConfigError


@pytest.mark.parametrize('align_corners', [False, True])
def test_a_training_step_reads_labels_and_coarse_logits_at_one_place(align_corners):
    """Labels and the coarse logit both are the column they lie in."""
    model = build_segmentor(
        pointrend(fpn_head(align_corners=align_corners)),
        train_cfg={'num_points': 4, 'point_selection': {'type': 'RegularGridSelection'}},
    )
    inputs, samples = semantic_batch(images=1)
    samples[0].gt_sem_seg.data = torch.arange(WIDTH).expand(1, HEIGHT, -1)
    head, seen = model.decode_head, {}
    columns = torch.arange(WIDTH, dtype=torch.float32).expand(1, NUM_CLASSES, HEIGHT, -1)
    head.coarse_head.forward = lambda inputs: columns
    head.coarse_head.loss_by_feat = lambda *_: {}
    head.point_head.forward = lambda fine, coarse: seen.update(coarse=coarse)
    head.point_head.loss = lambda logits, labels: seen.update(labels=labels) or {}
    model.loss(inputs, samples)
    x = torch.tensor([[0.25, 0.75, 0.25, 0.75]])
    exact = x * (WIDTH - 1) if align_corners else x * WIDTH - 0.5
    torch.testing.assert_close(seen['coarse'][..., 0], exact)
    assert torch.equal(seen['labels'], exact.round().long())


def test_the_ignored_label_is_the_coarse_heads():
    model = build_segmentor(pointrend(fpn_head(ignore_index=4)))
    inputs, samples = semantic_batch()
    for sample in samples:
        sample.gt_sem_seg.data[:] = 4
    losses = model.loss(inputs, samples)
    assert losses['decode.point.loss_ce'] == losses['decode.coarse.loss_ce'] == 0


def test_losses_of_one_name_are_added():
    loss = {'type': 'CrossEntropyLoss'}
    values = []
    for losses in (loss, [loss, {**loss, 'loss_weight': 2.0}]):
        model = build_segmentor(pointrend(None, {**point_head(), 'loss_decode': losses}))
        torch.manual_seed(0)
        values.append(model.loss(*semantic_batch())['decode.point.loss_ce'])
    torch.testing.assert_close(values[1], 3 * values[0])


def test_training_asks_the_uncertainty_of_the_config():
    model = build_segmentor(pointrend(uncertainty='probabilities'))
    asked = []
    given = model.decode_head.uncertainty
    model.decode_head.uncertainty = lambda logits: asked.append(logits.shape) or given(logits)
    model.loss(*semantic_batch())
    assert asked == [(2, NUM_CLASSES, 300)]


def test_a_coarse_head_of_two_maps_is_named():
    model = build_segmentor(pointrend())
    model.decode_head.coarse_head.forward = lambda inputs: (inputs[0], inputs[1])
    with pytest.raises(ConfigError, match='coarse_head FPNHead returns a tuple'):
        model.loss(*semantic_batch())


def test_the_point_head_takes_dropout_activation_and_initialisation():
    init = {'type': 'Constant', 'val': 0.5, 'layer': 'Conv1d'}
    config = {**point_head(), 'dropout_ratio': 0.3, 'act_cfg': {'type': 'GELU'}, 'init_cfg': init}
    head = build_segmentor(pointrend(None, config)).decode_head.point_head
    assert head.dropout.p == 0.3
    assert type(head.fcs[0].activate).__name__ == 'GELU'
    head.init_weights()
    assert (head.fc_logits.weight == 0.5).all()
