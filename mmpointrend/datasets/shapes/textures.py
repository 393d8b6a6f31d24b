# Copyright (c) The mmpointrend authors.
"""Textures of Shapes: what grounds and objects are painted with, so that colour alone tells little.

A texture is a map (H, W) float32 in [0, 1]; a `Paint` turns it into colours. Colours are BGR
float32 in [0, 255], as OpenCV writes them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


def _plane(rng: np.random.Generator, size: int) -> np.ndarray:
    """Position (size, size) along a random direction, in units of the image's side."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(0, 1, size, dtype=np.float32)
    return np.float32(np.cos(angle)) * axis + np.float32(np.sin(angle)) * axis[:, None]


def gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    """A ramp across the picture."""
    plane = _plane(rng, size)
    return (plane - plane.min()) / (plane.max() - plane.min())


def noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Clouds: random grids of rising resolution and falling weight, added up."""
    first = int(rng.integers(2, 7))
    cloud = np.zeros((size, size), np.float32)
    for octave in range(4):
        grid = rng.random((first << octave, first << octave), dtype=np.float32)
        cloud += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return (cloud - cloud.min()) / (cloud.max() - cloud.min())


def _wave(phase: np.ndarray, sharpness: float) -> np.ndarray:
    """Sine of a phase in turns, as [0, 1], its flanks made steeper by ``sharpness``."""
    return np.clip(0.5 + sharpness * np.sin(2 * np.pi * phase), 0, 1).astype(np.float32)


def stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Straight stripes, soft or sharp."""
    return _wave(_plane(rng, size) * rng.uniform(5, 18), rng.uniform(0.5, 2.5))


def wood(rng: np.random.Generator, size: int) -> np.ndarray:
    """Stripes bent by clouds, as grain or marble."""
    return _wave(
        _plane(rng, size) * rng.uniform(3, 9) + 1.2 * noise(rng, size), rng.uniform(0.5, 1.2)
    )


def checks(rng: np.random.Generator, size: int) -> np.ndarray:
    """Woven cloth: the mean of two crossing sets of stripes."""
    turns = rng.uniform(5, 14)
    angle = rng.uniform(0, np.pi / 2)
    axis = np.linspace(0, 1, size, dtype=np.float32)
    across = np.cos(angle) * axis - np.sin(angle) * axis[:, None]
    along = np.sin(angle) * axis + np.cos(angle) * axis[:, None]
    return (_wave(across * turns, 1.5) + _wave(along * turns, 1.5)) / 2


def speckles(rng: np.random.Generator, size: int) -> np.ndarray:
    """Round grains of two sizes on an even ground."""
    grain = np.zeros((size, size), np.float32)
    for count, sigma in ((size * 2, size / 180), (size // 3, size / 70)):
        spots = np.zeros((size, size), np.float32)
        spots[tuple(rng.integers(0, size, size=(2, count)))] = 1
        grain = np.maximum(
            grain, np.minimum(1, cv2.GaussianBlur(spots, (0, 0), sigma) * 12 * sigma**2)
        )
    return grain


TEXTURES: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (
    gradient,
    noise,
    stripes,
    wood,
    checks,
    speckles,
)


@dataclass
class Paint:
    """Two colours, and the texture that mixes them.

    Attributes:
        dark: (3,) BGR in [0, 255], where the texture is 0.
        light: (3,) BGR in [0, 255], where the texture is 1.
    """

    dark: np.ndarray
    light: np.ndarray

    @classmethod
    def pick(
        cls,
        rng: np.random.Generator,
        hue: float,
        value: float,
        contrast: float,
        vividness: tuple[float, float] = (0.25, 0.8),
    ) -> 'Paint':
        """Picks two shades around a hue.

        Args:
            rng: Source of chance.
            hue: Hue in turns.
            value: Mean brightness in [0, 1].
            contrast: Difference in brightness of the two shades in [0, 1].
            vividness: Least and greatest saturation in [0, 1].
        """
        turn = rng.uniform(-0.06, 0.06)
        vivid = rng.uniform(*vividness)
        hsv = np.array(
            [
                [np.mod(hue - turn, 1) * 360, vivid, np.clip(value - contrast / 2, 0.06, 1)],
                [np.mod(hue + turn, 1) * 360, vivid * 0.8, np.clip(value + contrast / 2, 0.06, 1)],
            ],
            np.float32,
        )
        dark, light = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2BGR)[0] * 255
        return cls(dark, light)

    def apply(self, texture: np.ndarray) -> np.ndarray:
        """Colours a texture: (H, W) in [0, 1] -> (H, W, 3) BGR float32 in [0, 255]."""
        return self.dark + texture[..., None] * (self.light - self.dark)
