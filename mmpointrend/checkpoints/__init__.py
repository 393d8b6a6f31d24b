# Copyright (c) The mmpointrend authors.
"""Checkpoints: read safely, wherever they come from.

:mod:`~mmpointrend.checkpoints.loading` is the one way in; :mod:`~mmpointrend.checkpoints.schemes` leads
mmengine's every address there. Nothing here imports mmdet or mmseg.
"""
