# Copyright (c) The mmpointrend authors.
"""Predictions as files: one writer for each format, all with the same two methods."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmpointrend.errors import ConfigError
from mmpointrend.writers.base import Output, Writer
from mmpointrend.writers.coco import CocoWriter, PolygonWriter
from mmpointrend.writers.label_png import LabelPngWriter
from mmpointrend.writers.overlay import OverlayWriter

__all__ = [
    'WRITERS',
    'CocoWriter',
    'LabelPngWriter',
    'Output',
    'OverlayWriter',
    'PolygonWriter',
    'Writer',
    'open_writers',
]

WRITERS: dict[str, type[Writer]] = {
    'overlay': OverlayWriter,
    'coco': CocoWriter,
    'polygons': PolygonWriter,
    'png': LabelPngWriter,
}
"""Writers by the name of their format."""


def open_writers(
    formats: Sequence[str], out_dir: str | Path, dataset_meta: Mapping[str, Any] | None = None
) -> list[Writer]:
    """Open writers into one folder, which agree on names.

    Args:
        formats: Keys of :data:`WRITERS`.
        out_dir: The folder, made if it is missing. Files of the same names in it are replaced.
        dataset_meta: ``classes`` and ``palette`` of the model (``model.dataset_meta``); optionally ``category_ids``,
            the id of each class in the dataset's json.

    Returns:
        The writers. Each takes pictures with their samples by ``add``, and is to be closed.

    Raises:
        ConfigError: There is no such format, or the meta information is not of one length.
        OutputError: The folder cannot be written.
    """
    for name in formats:
        if name not in WRITERS:
            raise ConfigError(f'there is no format {name!r}: choose from {", ".join(WRITERS)}.')
    output = Output(out_dir, dataset_meta)
    return [WRITERS[name](output) for name in dict.fromkeys(formats)]
