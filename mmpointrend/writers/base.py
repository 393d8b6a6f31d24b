# Copyright (c) The mmpointrend authors.
"""What writers share: where files go, what they are called, what classes are called."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset

from mmpointrend.data_files import inside
from mmpointrend.engine.saving import naming_the_disk
from mmpointrend.errors import ConfigError
from mmpointrend.images import Picture
from mmpointrend.visualization.canvas import COLOURS

__all__ = ['Output', 'Writer', 'is_semantic', 'to_array']

# COCO's ids run from 1 to 90, but these were never used.
_COCO_GAPS = frozenset([12, 26, 29, 30, 45, 66, 68, 69, 71, 83])
# Behind it come a number and a suffix; file systems take 255 bytes.
_LONGEST_NAME = 150


class Output:
    """A folder that predictions are written to.

    Files are called as their images, without folders and suffix. An image whose name is taken by one of another folder
    gets the folder in front, and then a number behind it. Of names, characters that some file system does not take
    become ``_``.

    Attributes:
        folder: The folder.
        classes: Names of the classes.
        palette: RGB colours of the classes in [0, 255], as many.
        category_ids: Id of each class: the dataset's, COCO's for its 80 classes, else 1, 2, 3, ...

    Args:
        folder: The folder, made if it is missing.
        dataset_meta: ``classes``, ``palette`` and ``category_ids``, each of which may be missing.

    Raises:
        ConfigError: There are fewer ids or colours than classes.
        OutputError: The folder cannot be made.
    """

    def __init__(self, folder: str | Path, dataset_meta: Mapping[str, Any] | None = None) -> None:
        meta = dataset_meta or {}
        classes = meta.get('classes') or ()
        # Metafiles of datasets with one class often have it as a text.
        self.classes = (classes,) if isinstance(classes, str) else tuple(map(str, classes))
        palette = meta.get('palette')
        if not isinstance(palette, Sequence) or isinstance(palette, str) or not palette:
            palette = [COLOURS[index % len(COLOURS)] for index in range(len(self.classes))]
        self.palette = tuple(tuple(int(value) for value in colour) for colour in palette)
        self.category_ids = tuple(meta.get('category_ids') or _category_ids(self.classes))
        for key, values in (('palette', self.palette), ('category_ids', self.category_ids)):
            if len(values) < len(self.classes):
                raise ConfigError(
                    f'dataset_meta has {len(self.classes)} classes and {len(values)} in {key}: give one for each.'
                )
        self.folder = Path(folder)
        with naming_the_disk(str(folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def name_of(self, picture: Picture) -> str:
        """Choose the name of an image's files, the same for all writers.

        Args:
            picture: The image.

        Returns:
            The name without a suffix; frames of a video have one name.
        """
        if picture.name not in self._names:
            name = next(
                name for name in _candidates(picture.name) if name.casefold() not in self._taken
            )
            self._taken.add(name.casefold())
            self._names[picture.name] = name
        return self._names[picture.name]

    def class_name(self, label: int) -> str:
        """Name of a class, its number if it has none."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def colour(self, label: int) -> tuple[int, ...]:
        """RGB colour of a class, in [0, 255]."""
        return (
            self.palette[label] if 0 <= label < len(self.palette) else COLOURS[label % len(COLOURS)]
        )

    def category_id(self, label: int) -> int:
        """Id of a class in annotations."""
        return self.category_ids[label] if 0 <= label < len(self.category_ids) else label + 1

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Write a file that replaces one of its name once it is whole.

        Args:
            name: Its name in the folder, with a folder or without.

        Yields:
            Where to write it, a file that is not there yet.

        Raises:
            InputError: The name leads out of the folder.
            OutputError: It cannot be written.
        """
        path = inside(self.folder, name)
        part = path.with_name(f'{path.name}.part')
        with naming_the_disk(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            # It may be a link.
            part.unlink(missing_ok=True)
            try:
                yield part
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)


def _category_ids(classes: Sequence[str]) -> list[int]:
    if tuple(classes) == tuple(CocoDataset.METAINFO['classes']):
        return [number for number in range(1, 91) if number not in _COCO_GAPS]
    return list(range(1, len(classes) + 1))


def _candidates(path: str) -> Iterator[str]:
    """Names for the files of an image, the best one first."""
    *folders, name = Path(path).parts or ['']
    stem = _plain(Path(name).stem) or 'image'
    yield stem
    for folder in map(_plain, reversed(folders)):
        if folder:
            stem = f'{folder}-{stem}'[-_LONGEST_NAME:]
            yield stem
    number = 2
    while True:
        yield f'{stem}-{number}'
        number += 1


def _plain(text: str) -> str:
    """A part of a path with nothing in it that a file system, a shell or a terminal takes amiss."""
    plain = ''.join(c if c.isprintable() and c not in '/\\:*?"<>|' else '_' for c in text)
    plain = plain.strip(' .')
    while len(plain.encode()) > _LONGEST_NAME:
        plain = plain[:-1]
    return plain


class Writer(ABC):
    """Writes predictions in one format.

    Args:
        output: The folder, and what classes are called.
    """

    def __init__(self, output: Output) -> None:
        self.output = output

    @abstractmethod
    def add(self, picture: Picture, sample: Any) -> None:
        """Write a prediction.

        Args:
            picture: The image, or a frame of a video; frames come in their order.
            sample: Its ``DetDataSample`` or ``SegDataSample``, in pixels of the image.

        Raises:
            OutputError: It cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what spans several images; nothing can be added after it."""


def is_semantic(sample: Any) -> bool:
    """Whether a sample is a label map, and not instances."""
    return 'pred_sem_seg' in sample


def to_array(values: Any) -> np.ndarray:
    """Array of a tensor on any device, or of whatever numpy takes."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
