# Copyright (c) The mmpointrend authors.
"""CamVid as SegNet's authors split and re-labelled it: 480 x 360, eleven classes and void."""

from collections.abc import Sequence
from typing import Any

from mmseg.datasets import BaseSegDataset

from mmpointrend.registry import DATASETS

VOID_LABEL = 11
"""Label of void in the PNG files."""

IGNORE_LABEL = 255
"""Label of void behind ``LoadAnnotations``; what losses and metrics ignore by default."""


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """CamVid's road scenes: pictures in ``train``, label maps in ``trainannot``, and so on.

    Void (11 in the files) is mapped to 255 in the pipeline, by mmseg's ``LoadAnnotations``: the
    data set adds it to the label map that each sample carries. Subsets of the classes
    (``metainfo=dict(classes=...)``) keep working.

    Takes ``BaseSegDataset``'s arguments, e.g. ``data_root='data/camvid',
    data_prefix=dict(img_path='train', seg_map_path='trainannot')``; pictures that are PNG need
    ``img_suffix='.png'``.
    """

    METAINFO = {
        'classes': (
            'Sky',
            'Building',
            'Pole',
            'Road',
            'Pavement',
            'Tree',
            'SignSymbol',
            'Fence',
            'Car',
            'Pedestrian',
            'Bicyclist',
        ),
        'palette': [
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    }

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Maps the labels of the files to those of training; void is always among them.

        Args:
            new_classes: Names of the classes to keep; all where None.

        Raises:
            ValueError: If one of them is no class of CamVid.
        """
        return {**(super().get_label_map(new_classes) or {}), VOID_LABEL: IGNORE_LABEL}
