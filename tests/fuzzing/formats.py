# Copyright (c) The mmpointrend authors.
"""What is fuzzed: formats by name."""

from fuzzing import checkpoints, heads, jsons, pickles, pictures
from fuzzing.format import Format

__all__ = ['FORMATS']

FORMATS: dict[str, Format] = {
    format_.name: format_
    for format_ in (
        checkpoints.CHECKPOINTS,
        pickles.PICKLES,
        jsons.JSONS,
        pictures.LABEL_MAPS,
        pictures.IMAGES,
        heads.HEAD_CONFIGS,
    )
}
"""All of them, in the order of the table."""
