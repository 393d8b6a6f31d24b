# Copyright (c) The mmpointrend authors.
"""``mmpointrend predict``: masks of images, folders and videos."""


def command() -> None:
    """Come in the next commit."""
