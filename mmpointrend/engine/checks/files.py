# Copyright (c) The mmpointrend authors.
"""Images, label maps and masks are checked when a pipeline reads them."""

from collections.abc import Callable
from numbers import Real
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile

from mmpointrend.engine.checks.dataset import leaves
from mmpointrend.engine.checks.images import (
    complaint_about_decoding,
    complaint_about_depth,
    complaint_about_file,
    described_size,
    orientation,
)
from mmpointrend.engine.checks.label_maps import LabelMapCheck
from mmpointrend.engine.checks.masks import complaint_about_masks
from mmpointrend.engine.checks.pipelines import last_unknown, step_lists
from mmpointrend.errors import InputError

__all__ = ['NamedLoading', 'name_files_on_loading']


def name_files_on_loading(dataset: Any) -> None:
    """Wrap the loading steps of a dataset's pipeline in :class:`NamedLoading`, and check its label maps.

    Label maps are checked behind the last step that this package does not know, which may yet change labels, and
    else where they are read.

    Args:
        dataset: A built dataset; its pipeline is changed in place.
    """
    for leaf in leaves(dataset):
        source = str(getattr(leaf, 'ann_file', None) or 'the annotations')
        for steps in list(step_lists(leaf)):
            place = last_unknown(steps)
            for index, step in enumerate(steps):
                if isinstance(step, LoadImageFromFile | LoadAnnotations):
                    steps[index] = NamedLoading(step, source)
                    if steps[index].loads_label_maps:
                        place = max(place, index)
            loads = any(getattr(step, 'loads_label_maps', False) for step in steps)
            if loads and not any(isinstance(step, LabelMapCheck) for step in steps):
                behind = type(steps[place]) is not NamedLoading
                steps.insert(place + 1, LabelMapCheck(is_late=behind))


class NamedLoading:
    """A loading step of a pipeline whose failure names the file.

    mmcv's own names no file if a label map is damaged or an image empty, waits for ever for what is not a file, and
    takes images and masks of other sizes than their annotations say.

    Args:
        step: The step, called with the dict of one sample.
        source: Where the annotations come from, for messages.

    Attributes:
        loads_label_maps: Whether the step reads label maps.
    """

    def __init__(
        self, step: Callable[[dict[str, Any]], Any], source: str = 'the annotations'
    ) -> None:
        self.step, self.source = step, source
        self.loads_images = isinstance(step, LoadImageFromFile)
        self.loads_label_maps = not self.loads_images and getattr(step, 'with_seg', False)
        modules = {base.__module__ for base in type(step).__mro__}
        # mmseg's step casts to 8 bits, mmdet's does not. Asked so, mmseg need not be imported for it.
        self._keeps_eight_bits = (
            self.loads_label_maps and 'mmseg.datasets.transforms.loading' in modules
        )
        self._looked_at: set[str] = set()

    def __call__(self, results: dict[str, Any]) -> Any:
        """Load.

        Args:
            results: Dict of one sample, with ``img_path`` and, for label maps, ``seg_map_path``.

        Returns:
            What the step returns.

        Raises:
            InputError: The file is missing, empty, not an image, not a file at all, or of another size than the
                annotations say; or a mask cannot be drawn on the image. Other errors of the step are passed on.
        """
        key, kind = ('img_path', 'image') if self.loads_images else ('seg_map_path', 'label map')
        path = results.get(key) if self.loads_images or self.loads_label_maps else None
        # Each file once: looking at heads of files takes longer than comparing sizes, which is done every time.
        is_new = path not in self._looked_at
        complaint = complaint_about_file(path, self.step, kind) if is_new else None
        if complaint is not None and getattr(self.step, 'ignore_empty', False):
            return None
        if complaint is None and getattr(self.step, 'with_mask', False):
            complaint = complaint_about_masks(results, self.source)
        if complaint is not None:
            raise InputError(complaint)
        try:
            loaded = self.step(results)
        except Exception as error:
            complaint = complaint_about_decoding(path, self.step, kind)
            if complaint is None:
                raise
            raise InputError(complaint) from error
        if isinstance(loaded, dict) and path is not None:
            if self.loads_images:
                complaint = self._complaint_about_size(path, loaded)
            elif self._keeps_eight_bits and is_new:
                complaint = complaint_about_depth(path, self.step)
            if complaint is not None:
                raise InputError(complaint)
            self._looked_at.add(path)
        return loaded

    def _complaint_about_size(self, path: str, loaded: dict[str, Any]) -> str | None:
        """A sentence if an image has another size than the annotations say."""
        said, shape = (loaded.get('height'), loaded.get('width')), loaded.get('ori_shape', ())[:2]
        if said == shape or not shape or not all(isinstance(side, Real) for side in said):
            return None
        turned = ''
        fix = (
            'take the image that was annotated, or write the sizes anew if the annotations are '
            'for this one'
        )
        if said == shape[::-1] and (way := orientation(path)) > 4:
            # With 'unchanged' and '*_ignore_orientation' the image stays as it was saved.
            if 'ignore' in self._color_type or self._color_type == 'unchanged':
                turned = f' and is not turned by its EXIF orientation {way}'
                fix = "set color_type='color' in LoadImageFromFile"
            else:
                turned = f', turned by its EXIF orientation {way}'
                fix = (
                    "set color_type='color_ignore_orientation' in LoadImageFromFile, or save the "
                    'image upright and without EXIF'
                )
        return (
            f'the image {path} is {described_size(shape)} pixels{turned}, but {self.source} says '
            f'{said[1]} x {said[0]}: {fix}.'
        )

    @property
    def _color_type(self) -> str:
        return str(getattr(self.step, 'color_type', 'color'))

    def __repr__(self) -> str:
        return repr(self.step)
