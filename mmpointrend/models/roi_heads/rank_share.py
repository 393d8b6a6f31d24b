# Copyright (c) The mmpointrend authors.
"""Mask losses that weigh every RoI alike on all ranks of a distributed run."""

import torch
from mmdet.utils import reduce_mean
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmpointrend.errors import ConfigError

__all__ = ['normalizes_over_ranks', 'weighted_by_share']


def normalizes_over_ranks(
    train_cfg: ConfigDict, mask_head: nn.Module, point_head: nn.Module
) -> bool:
    """Value of ``train_cfg.rcnn.normalize_over_ranks``.

    Args:
        train_cfg: The RoI head's.
        mask_head: The coarse mask head.
        point_head: The point head.

    Returns:
        Whether losses are averaged over the RoIs of all ranks; False by default, as in mmdet.

    Raises:
        ConfigError: The value is not True or False, or a loss of the heads is not an average.
    """
    wanted = train_cfg.get('normalize_over_ranks', False)
    if not isinstance(wanted, bool):
        raise ConfigError(
            f'train_cfg.rcnn.normalize_over_ranks is {wanted!r}: set it to True or False'
        )
    if not wanted:
        return False
    for head, name, loss in (
        (mask_head, 'mask_head', 'loss_mask'),
        (point_head, 'point_head', 'loss_point'),
    ):
        reduction = getattr(getattr(head, loss, None), 'reduction', 'mean')
        if reduction != 'mean':
            raise ConfigError(
                f'roi_head.{name}.{loss}.reduction is {reduction!r}, which train_cfg.rcnn.normalize_over_ranks=True '
                "cannot turn into an average over all ranks: set reduction='mean', or normalize_over_ranks=False"
            )
    return True


def weighted_by_share(losses: dict[str, Tensor], num_rois: int) -> dict[str, Tensor]:
    """Turn averages over this rank's RoIs into its part of the average over the RoIs of all ranks.

    DDP averages the gradients of W ranks. With the weight R_own W / R_all that average is the gradient of the mean over
    all R_all RoIs, as if one rank had seen them. Every rank has to call this in every step, also without RoIs.

    Args:
        losses: Scalars by name, each a mean over RoIs; 0 where there is none.
        num_rois: R_own, the number of RoIs of this rank.

    Returns:
        The losses, weighted; unchanged where one process trains alone.
    """
    device = next(iter(losses.values())).device
    own = torch.full((), float(num_rois), device=device)
    # Any positive number will do where no rank has an RoI.
    weight = own / reduce_mean(own).clamp(min=torch.finfo(own.dtype).tiny)
    return {name: loss * weight for name, loss in losses.items()}
