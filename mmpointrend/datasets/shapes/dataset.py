# Copyright (c) The mmpointrend authors.
"""Shapes as a data set of mmdet (instances) and of mmseg (label maps)."""

from collections.abc import Sequence
from typing import Any

from mmdet.datasets import CocoDataset
from mmseg.datasets import BaseSegDataset

from mmpointrend.datasets.shapes.scene import CLASSES
from mmpointrend.datasets.shapes.writer import ONE_CLASS, PALETTE
from mmpointrend.registry import DATASETS


@DATASETS.register_module()
class ShapesInstanceDataset(CocoDataset):
    """Instances of Shapes: star, gear, leaf, letter, ring, tree.

    Takes ``CocoDataset``'s arguments, e.g. ``data_root='data/shapes',
    ann_file='annotations/instances_train.json', data_prefix=dict(img='train/')``. Shapes written
    with one class take ``metainfo=dict(classes=('object',))``.
    """

    METAINFO = {'classes': CLASSES, 'palette': list(PALETTE[1:])}


@DATASETS.register_module()
class ShapesSemanticDataset(BaseSegDataset):
    """Label maps of Shapes: background (0) and the six classes of `ShapesInstanceDataset`.

    Takes ``BaseSegDataset``'s arguments, e.g. ``data_root='data/shapes',
    data_prefix=dict(img_path='train', seg_map_path='semantic_train')``. Shapes written with one
    class take ``metainfo=dict(classes=('background', 'object'))``.
    """

    METAINFO = {'classes': ('background', *CLASSES), 'palette': [list(c) for c in PALETTE]}

    def __init__(
        self, img_suffix: str = '.jpg', seg_map_suffix: str = '.png', **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Labels of the maps -> labels of ``new_classes``.

        Args:
            new_classes: Names of the classes that a config asks for.

        Returns:
            mmseg's answer; None for Shapes with one class, whose maps have its labels already.
        """
        if new_classes is not None and tuple(new_classes) == ('background', ONE_CLASS):
            return None
        return super().get_label_map(new_classes)
