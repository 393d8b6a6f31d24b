# Copyright (c) The mmpointrend authors.
"""``mmpointrend info``: the models of this package."""


def command() -> None:
    """Come in the next commit."""
