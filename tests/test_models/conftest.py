# Copyright (c) The mmpointrend authors.
"""mmdet's and mmseg's modules, registered once for the tests of the heads."""

import mmdet.models
import mmseg.models

import mmpointrend.models  # noqa: F401

__all__ = ['mmdet', 'mmseg']
