# Copyright (c) The mmpointrend authors.
"""Two processes train our RoI heads, of which one has no instance: no rank may wait for a gradient that never comes."""

import gc
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

STEPS = 2


class _Losses(nn.Module):
    """The head's losses as a forward pass, which is what DDP wraps."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x, proposals, samples):
        losses = self.head.loss(x, proposals, samples)
        return sum(value for name, value in losses.items() if 'loss' in name)


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
    # The models first: one that outlives the group takes it down while it holds the interpreter's lock, for which the
    # group's thread may be waiting (seen: neither ever ended).
    gc.collect()
    dist.destroy_process_group()


def test_one_rank_without_instances(tmp_path):
    # Daemons, so that what hangs ends with the tests.
    processes = mp.spawn(_train, (tmp_path,), nprocs=2, join=False, daemon=True)
    deadline = time.monotonic() + 240
    while not processes.join(timeout=1):
        assert time.monotonic() < deadline, 'one of two processes waits for ever'
    for name, last in (
        ('explicit', 'point_head.fc_logits.weight'),
        ('implicit', 'mask_head.fc_logits.weight'),
    ):
        gradients = [torch.load(tmp_path / f'{name}_{rank}.pth') for rank in range(2)]
        assert all(torch.equal(gradients[0][key], value) for key, value in gradients[1].items())
        assert gradients[1][last].abs().sum() > 0
