# Copyright (c) The mmpointrend authors.
"""``mmpointrend doctor``: what is installed, and whether a config fits its data."""

from typing import Annotated

import typer


def command(
    config: Annotated[
        str | None, typer.Argument(help='Name or path of a config to hold against its data.')
    ] = None,
) -> None:
    """Check the installation, or a config and its data; each fault with its cure."""
    from mmpointrend.apis.doctor import run_doctor

    raise typer.Exit(run_doctor(config))
