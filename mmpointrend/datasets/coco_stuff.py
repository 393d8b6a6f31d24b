# Copyright (c) The mmpointrend authors.
"""COCO's stuff with all things as one class, as detectron2 trains semantic models on COCO."""

from typing import Any

from mmdet.datasets import CocoPanopticDataset
from mmseg.datasets import BaseSegDataset

from mmpointrend.registry import DATASETS

__all__ = ['CocoPanopticStuffDataset']


@DATASETS.register_module()
class CocoPanopticStuffDataset(BaseSegDataset):
    """COCO 2017 with 54 classes: 'things' (0) and the 53 stuff classes of the panoptic annotations, in their order.

    ``tools/dataset_converters/coco_panoptic_to_stuff.py`` makes the label maps. (mmseg's ``COCOStuffDataset`` is
    another annotation of the same images, with 80 thing and 91 stuff classes.)

    Takes ``BaseSegDataset``'s arguments, e.g. ``data_root='data/coco',
    data_prefix=dict(img_path='val2017', seg_map_path='panoptic_stuff_val2017')``.
    """

    METAINFO = {
        'classes': ('things', *CocoPanopticDataset.METAINFO['stuff_classes']),
        'palette': [
            [128, 128, 128],
            # The palette of mmdet has the things first.
            *map(
                list,
                CocoPanopticDataset.METAINFO['palette'][
                    len(CocoPanopticDataset.METAINFO['thing_classes']) :
                ],
            ),
        ],
    }

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
