# Copyright (c) The mmpointrend authors.
"""Images and label maps that cannot be read.

Files are looked at only after something else has failed on them.
"""

from collections.abc import Callable
from typing import Any

import mmcv
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine import fileio

from mmpointrend.engine.checks.dataset import leaves
from mmpointrend.errors import InputError

__all__ = ['NamedLoading', 'name_files_on_loading']


def name_files_on_loading(dataset: Any) -> None:
    """Wrap the loading steps of a dataset's pipeline in :class:`NamedLoading`.

    Args:
        dataset: A built dataset; its pipeline is changed in place.
    """
    for leaf in leaves(dataset):
        steps = getattr(getattr(leaf, 'pipeline', None), 'transforms', None) or []
        steps[:] = [
            NamedLoading(step) if isinstance(step, LoadImageFromFile | LoadAnnotations) else step
            for step in steps
        ]


class NamedLoading:
    """A loading step of a pipeline whose failure names the file.

    mmcv's own names no file when a label map is damaged or an image empty.

    Args:
        step: The step, called with the dict of one sample.
    """

    def __init__(self, step: Callable[[dict[str, Any]], Any]) -> None:
        self.step = step

    def __call__(self, results: dict[str, Any]) -> Any:
        """Load.

        Args:
            results: Dict of one sample, with ``img_path`` and, for label maps, ``seg_map_path``.

        Returns:
            What the step returns.

        Raises:
            InputError: The file is missing, empty or no image; other errors of the step are passed
                on.
        """
        try:
            return self.step(results)
        except Exception as error:
            key = 'img_path' if isinstance(self.step, LoadImageFromFile) else 'seg_map_path'
            complaint = _complaint_about_image(results.get(key), self.step, key)
            if complaint is None:
                raise
            raise InputError(complaint) from error

    def __repr__(self) -> str:
        return repr(self.step)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _complaint_about_image(path: str | None, step: Any, key: str) -> str | None:
    """What is wrong with an image file, as a sentence; None where it can be read."""
    if path is None:
        return None
    kind = 'image' if key == 'img_path' else 'label map'
    mend = 'copy it anew or take it out of the dataset'
    try:
        content = fileio.get(path, backend_args=getattr(step, 'backend_args', None))
    except OSError as error:
        reason = (
            'does not exist'
            if isinstance(error, FileNotFoundError)
            else f'cannot be read ({error})'
        )
        return f'the {kind} {path} {reason}; check data_root, data_prefix and the file names.'
    if not content:
        return f'the {kind} {path} is empty; {mend}.'
    try:
        decoded = mmcv.imfrombytes(
            content, flag='unchanged', backend=getattr(step, 'imdecode_backend', None)
        )
    except Exception as error:
        return f'the {kind} {path} cannot be decoded ({_first_line(error)}); {mend}.'
    if decoded is None:
        return f'the {kind} {path} is damaged or no image; {mend}.'
    return None
