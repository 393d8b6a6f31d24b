# Copyright (c) The mmpointrend authors.
"""``mmpointrend convert``: the config of another model, with PointRend, as a file of a few lines."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ['command']


def command(
    config: Annotated[
        str, typer.Argument(help='Config of a detector or segmentor, or PACKAGE::NAME.')
    ],
    out: Annotated[Path, typer.Option(help='The config to write, NEW.py.')],
    fine_from: Annotated[
        str, typer.Option(help="Fine features: 'neck' (P2), or 'backbone' (res2).")
    ] = 'neck',
) -> None:
    """Add PointRend to a model: a config that inherits CONFIG."""
    from mmpointrend.conversion import convert_config

    convert_config(config, out, fine_from)
    print(out.read_text(), end='')
