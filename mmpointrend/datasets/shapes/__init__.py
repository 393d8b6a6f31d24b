# Copyright (c) The mmpointrend authors.
"""Shapes: a generated data set of objects whose boundary matters, for both tasks."""

from mmpointrend.datasets.shapes.dataset import ShapesInstanceDataset, ShapesSemanticDataset
from mmpointrend.datasets.shapes.scene import CLASSES, Scene, ShapeInstance, render_scene
from mmpointrend.datasets.shapes.writer import PALETTE, write_missing, write_split

__all__ = [
    'CLASSES',
    'PALETTE',
    'Scene',
    'ShapeInstance',
    'ShapesInstanceDataset',
    'ShapesSemanticDataset',
    'render_scene',
    'write_missing',
    'write_split',
]
