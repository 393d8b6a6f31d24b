# Copyright (c) The mmpointrend authors.
"""Two processes train our RoI heads.

One has no instance: no rank may wait for a gradient that never comes. And where it is asked for, two ranks learn what
one does.
"""

import gc
import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.config import ConfigDict
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.rank_share import normalizes_over_ranks, weighted_by_share

STEPS = 2
# Instances of the two images.
UNEVEN = {'few_and_many': (3, 1), 'many_and_none': (2, 0), 'none_at_all': (0, 0)}


class _Losses(nn.Module):
    """The head's losses as a forward pass, which is what DDP wraps."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x, proposals, samples):
        losses = self.head.loss(x, proposals, samples)
        return sum(value for name, value in losses.items() if 'loss' in name)


class _MaskLosses(_Losses):
    """Those of the mask branch; the others take part with gradients of 0."""

    def forward(self, x, proposals, samples):
        losses = self.head.loss(x, proposals, samples)
        names = ('loss_mask', 'loss_point', 'loss_parameters')
        others = [value for name, value in losses.items() if name not in names]
        return sum(losses[name] for name in names if name in losses) + sum(
            0 * value.sum() for value in others
        )


def _mask_gradients(kind, counts, over_ranks, images):
    """Gradients of the mask losses of some of two images with that many instances, at points that are not drawn."""
    from tiny_heads import (
        build_roi_head,
        feature_levels,
        implicit_config,
        roi_head_config,
        training_batch,
    )

    config = roi_head_config() if kind == 'explicit' else implicit_config()
    config.train_cfg.point_selection = {'type': 'RegularGridSelection'}
    config.train_cfg.normalize_over_ranks = over_ranks
    if kind == 'implicit':
        # 1e-5 would hide in the rounding.
        config.mask_head.l2_weight = 0.1
    model = _MaskLosses(build_roi_head(config))
    wrapped = DistributedDataParallel(model) if dist.is_initialized() else model
    samples, proposals = training_batch(counts)
    levels = [level.detach()[images] for level in feature_levels()]
    wrapped(levels, proposals[images], samples[images]).backward()
    return {name: value.grad for name, value in model.head.named_parameters()}


def _train(rank, folder):
    from tiny_heads import (
        build_roi_head,
        feature_levels,
        implicit_config,
        roi_head_config,
        training_batch,
    )

    import mmpointrend.models  # noqa: F401

    torch.set_num_threads(1)
    # They meet in a file: a free port may be taken by another run of the tests.
    dist.init_process_group('gloo', f'file://{folder}/meeting', rank=rank, world_size=2)

    def train(config):
        model = DistributedDataParallel(_Losses(build_roi_head(config)))
        for _ in range(STEPS):
            model.zero_grad()
            samples, proposals = training_batch((2, 1) if rank == 0 else (0, 0))
            model([level.detach() for level in feature_levels()], proposals, samples).backward()
        return {name: value.grad for name, value in model.module.head.named_parameters()}

    for name, config in (('explicit', roi_head_config()), ('implicit', implicit_config())):
        torch.save(train(config), f'{folder}/{name}_{rank}.pth')
    parts = {
        (kind, case, over_ranks): _mask_gradients(kind, counts, over_ranks, slice(rank, rank + 1))
        for kind in ('explicit', 'implicit')
        for case, counts in UNEVEN.items()
        for over_ranks in (True, False)
    }
    torch.save(parts, f'{folder}/parts_{rank}.pth')
    # The models first: one that outlives the group takes it down while it holds the interpreter's lock, for which the
    # group's thread may be waiting (seen: neither ever ended).
    gc.collect()
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folder with what two processes have saved."""
    folder = tmp_path_factory.mktemp('two_ranks')
    # Daemons, so that what hangs ends with the tests.
    processes = mp.spawn(_train, (folder,), nprocs=2, join=False, daemon=True)
    deadline = time.monotonic() + 240
    while not processes.join(timeout=1):
        assert time.monotonic() < deadline, 'one of two processes waits for ever'
    return folder


def test_one_rank_without_instances(trained):
    for name, last in (
        ('explicit', 'point_head.fc_logits.weight'),
        ('implicit', 'mask_head.fc_logits.weight'),
    ):
        gradients = [torch.load(trained / f'{name}_{rank}.pth') for rank in range(2)]
        assert all(torch.equal(gradients[0][key], value) for key, value in gradients[1].items())
        assert gradients[1][last].abs().sum() > 0


def largest_difference(one, other):
    """Over all parameters, relative to the largest gradient."""
    scale = max(value.abs().max() for value in one.values())
    return max((value - other[name]).abs().max() for name, value in one.items()) / scale


@pytest.mark.parametrize('kind', ['explicit', 'implicit'])
def test_two_ranks_of_one_image_learn_what_one_rank_of_two_does(kind, trained):
    parts = torch.load(trained / 'parts_1.pth')
    for case in ('few_and_many', 'many_and_none'):
        alone = _mask_gradients(kind, UNEVEN[case], True, slice(None))
        # One process is what it was: the option weighs by 1.
        assert (
            largest_difference(alone, _mask_gradients(kind, UNEVEN[case], False, slice(None))) == 0
        )
        assert largest_difference(alone, parts[kind, case, True]) < 1e-5
        assert largest_difference(alone, parts[kind, case, False]) > 0.1
    # mmdet's way: the mean of a gradient and of none.
    halves = {name: 2 * value for name, value in parts[kind, 'many_and_none', False].items()}
    assert largest_difference(alone, halves) < 1e-5
    for over_ranks in (True, False):
        nothing = parts[kind, 'none_at_all', over_ranks]
        assert all(value.abs().sum() == 0 for value in nothing.values())


def test_a_process_alone_weighs_its_losses_by_one():
    losses = dict(a=torch.tensor(0.3), b=torch.tensor(float('1e-7')))
    assert weighted_by_share(losses, 3) == losses
    assert weighted_by_share(dict(a=torch.zeros(())), 0) == dict(a=torch.tensor(0.0))


def test_what_cannot_be_normalised_is_refused():
    averaged, summed = (nn.Module() for _ in range(2))
    averaged.loss_mask = nn.BCEWithLogitsLoss()
    summed.loss_point = nn.BCEWithLogitsLoss(reduction='sum')
    with pytest.raises(
        ConfigError, match=r"normalize_over_ranks is 'yes': set it to True or False"
    ):
        normalizes_over_ranks(ConfigDict(normalize_over_ranks='yes'), averaged, averaged)
    with pytest.raises(
        ConfigError, match=r"roi_head\.point_head\.loss_point\.reduction is 'sum'.*reduction='mean'"
    ):
        normalizes_over_ranks(ConfigDict(normalize_over_ranks=True), averaged, summed)
    assert normalizes_over_ranks(ConfigDict(normalize_over_ranks=True), averaged, averaged)
    assert not normalizes_over_ranks(ConfigDict(), averaged, summed)
