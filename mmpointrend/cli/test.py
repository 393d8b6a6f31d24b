# Copyright (c) The mmpointrend authors.
"""``mmpointrend test``: what ``tools/test.py`` does."""

import typer


def command(context: typer.Context) -> None:
    """Test a model of either task; `mmpointrend test --help` lists the options."""
    from mmpointrend.engine.launch import test

    test(context.args, prog='mmpointrend test')
