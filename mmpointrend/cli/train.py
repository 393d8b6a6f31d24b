# Copyright (c) The mmpointrend authors.
"""``mmpointrend train``: what ``tools/train.py`` does."""

import typer


def command(context: typer.Context) -> None:
    """Train a model of either task; `mmpointrend train --help` lists the options."""
    from mmpointrend.engine.launch import train

    train(context.args, prog='mmpointrend train')
