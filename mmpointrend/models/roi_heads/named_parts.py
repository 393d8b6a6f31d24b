# Copyright (c) The mmpointrend authors.
"""mmdet's RoI head, whose refusals name the parts that it cannot build."""

from mmdet.models.roi_heads import StandardRoIHead
from mmengine.config import ConfigDict

from mmpointrend.rules import naming

__all__ = ['OF_OTHER_HEADS', 'NamedPartsRoIHead']

# Keys of mmdet's other RoI heads, by which a config moved over from them is known.
OF_OTHER_HEADS = {
    'mask_iou_head': 'PointRend does not score masks; leave it out, or set roi_head.type to '
    "'mmpointrend.MaskScoringPointRendRoIHead'",
    'semantic_head': 'PointRend has no semantic branch; leave it out, or set roi_head.type to '
    "'mmpointrend.HTCPointRendRoIHead' or 'mmpointrend.SCNetPointRendRoIHead'",
    'semantic_roi_extractor': 'PointRend has no semantic branch; leave it out, or set roi_head.type to '
    "'mmpointrend.HTCPointRendRoIHead'",
    'num_stages': 'PointRend has one stage; leave it out, and give one bbox_head, mask_head and rcnn, or set '
    "roi_head.type to 'mmpointrend.CascadePointRendRoIHead'",
    'stage_loss_weights': 'PointRend has one stage; leave it out, or set roi_head.type to '
    "'mmpointrend.CascadePointRendRoIHead'",
}


class NamedPartsRoIHead(StandardRoIHead):
    """mmdet's hooks that build parts, each in one sentence where it fails."""

    def init_bbox_head(self, bbox_roi_extractor: ConfigDict, bbox_head: ConfigDict) -> None:
        """mmdet's hook, with the names of what it builds in its refusals.

        Args:
            bbox_roi_extractor: Config of the box RoI extractor.
            bbox_head: Config of the box head.

        Raises:
            ConfigError: One of them cannot be built.
        """
        with naming('roi_head.bbox_head or bbox_roi_extractor'):
            super().init_bbox_head(bbox_roi_extractor, bbox_head)

    def init_mask_head(self, mask_roi_extractor: ConfigDict, mask_head: ConfigDict) -> None:
        """mmdet's hook, with the names of what it builds in its refusals.

        Args:
            mask_roi_extractor: Config of the mask RoI extractor.
            mask_head: Config of the coarse mask head.

        Raises:
            ConfigError: One of them cannot be built.
        """
        with naming('roi_head.mask_head or mask_roi_extractor'):
            super().init_mask_head(mask_roi_extractor, mask_head)

    def init_assigner_sampler(self) -> None:
        """mmdet's hook, with the names of what it builds in its refusals.

        Raises:
            ConfigError: One of them cannot be built.
        """
        with naming('train_cfg.rcnn.assigner or sampler'):
            super().init_assigner_sampler()
