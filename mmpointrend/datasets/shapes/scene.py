# Copyright (c) The mmpointrend authors.
"""One picture of Shapes with its truth for both tasks.

Objects are laid over each other from back to front (painter's order); a mask is the part that is
seen. The scene is a function of (seed, split, index, size) alone: picture i is the same however
many pictures are written.

Frames: the object's own (see `outlines`) and the image's, x to the right and y downwards, in
pixels, (0, 0) at the corner of the first pixel, as in COCO.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as mask_api

from mmpointrend.datasets.shapes.outlines import OUTLINES, Outline
from mmpointrend.datasets.shapes.textures import TEXTURES, Paint

CLASSES = tuple(OUTLINES)
"""Names of the object classes; the semantic task puts ``background`` before them."""

SUPERSAMPLING = 4
"""Subpixels per pixel and axis in which coverage is counted."""

SMALLEST = 16
"""Least extent of an object in pixels."""

LEAST_SEEN = 0.4
"""No object may be covered so far that a smaller share of it is seen."""

LARGEST = 0.9
"""Greatest extent of an object as a share of the picture's side."""

LEAST_CONTRAST = 40
"""Least mean difference per channel, of 255, between an object and what it covers."""

LEAST_SIZE = 64
"""Least side of a picture in pixels."""

GREY = (0.0, 0.06)
"""Saturation of a grey ground."""

VIVID = (0.55, 0.95)
"""Saturation of the objects on a grey ground."""

_SPLIT_KEYS = {'train': 0, 'val': 1}
_SHIFT = 4
_PLACEMENTS = 10
_TRACE_ERROR = 0.12


@dataclass
class ShapeInstance:
    """One annotated object.

    Attributes:
        label: Index into `CLASSES`.
        segmentation: COCO polygons (list of flat x, y lists), or compressed RLE where the visible
            part has a hole.
        mask: (H, W) uint8 in {0, 1}; exactly what pycocotools draws from ``segmentation``.
    """

    label: int
    segmentation: list[list[float]] | dict[str, Any]
    mask: np.ndarray


@dataclass
class Scene:
    """A picture and its truth.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        semantic: (H, W) uint8; 0 is background, 1 + i is ``CLASSES[i]``.
        instances: The annotated objects, from back to front.
    """

    image: np.ndarray
    semantic: np.ndarray
    instances: list[ShapeInstance]


@dataclass
class _Placed:
    """An object on its place.

    Attributes:
        label: Index into `CLASSES`.
        rows, columns: The part of the image it touches, in whole pixels.
        cover: The subpixels inside its outline there, uint8 in {0, 1}.
    """

    label: int
    rows: slice
    columns: slice
    cover: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """The subpixels of an image-wide map that ``cover`` lies on."""
        rows, columns = (
            slice(s.start * SUPERSAMPLING, s.stop * SUPERSAMPLING)
            for s in (self.rows, self.columns)
        )
        return rows, columns


def _rasterize(label: int, outline: Outline, size: int) -> _Placed:
    """Covers subpixels with an outline given in image pixels."""
    vertices = np.concatenate(outline.solids)
    low = np.clip(np.floor(vertices.min(0)), 0, size - 1).astype(int)
    high = np.clip(np.ceil(vertices.max(0)), low + 1, size).astype(int)
    cover = np.zeros((high - low)[::-1] * SUPERSAMPLING, np.uint8)
    for value, polygons in ((1, outline.solids), (0, outline.holes)):
        for polygon in polygons:
            # fillPoly counts from the centre of the first subpixel, hence the half.
            fixed = ((polygon - low) * SUPERSAMPLING - 0.5) * 2**_SHIFT
            cv2.fillPoly(cover, [np.round(fixed).astype(np.int32)], value, shift=_SHIFT)
    return _Placed(label, slice(low[1], high[1]), slice(low[0], high[0]), cover)


def _place(rng: np.random.Generator, extent: float, size: int) -> _Placed:
    """Draws an object of ``extent`` pixels, turned, squeezed and moved at random."""
    label = int(rng.integers(len(CLASSES)))
    outline = OUTLINES[CLASSES[label]](rng, extent / 2)
    # Trees and letters stand mostly upright, as they do outside; the rest lies as it fell.
    upright = CLASSES[label] in ('tree', 'letter')
    angle = rng.normal(0, 0.3) if upright else rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag([1.0, rng.uniform(0.8, 1.0)]) @ turn * (extent / 2)
    margin = min(0.4 * extent, size / 2)
    centre = rng.uniform(margin, size - margin, size=2)
    parts = ([p @ matrix + centre for p in part] for part in (outline.solids, outline.holes))
    return _rasterize(label, Outline(*parts), size)


def _extents(rng: np.random.Generator, size: int) -> np.ndarray:
    """Extents of a scene's objects in pixels, large ones first: those lie behind."""
    share = rng.random(int(rng.integers(3, 8)))
    share[0] = rng.uniform(0.6, 1.0)  # something to look at in every picture
    return np.sort(SMALLEST * (LARGEST * size / SMALLEST) ** share)[::-1]


def _compose(
    rng: np.random.Generator, size: int, least_seen: float
) -> tuple[list[_Placed], np.ndarray]:
    """Lays out a scene, an object that would hide too much being moved or left out.

    Returns:
        The objects from back to front, and the owner (S, S) uint8 of every subpixel: 0 for the
        ground, 1 + i for object i.
    """
    placed: list[_Placed] = []
    owner = np.zeros((size * SUPERSAMPLING,) * 2, np.uint8)
    whole, seen = np.zeros(0), np.zeros(0)
    for extent in _extents(rng, size):
        for _ in range(_PLACEMENTS):
            candidate = _place(rng, extent, size)
            inside = candidate.cover.astype(bool)
            beneath = owner[candidate.window][inside]
            left = seen - np.bincount(beneath, minlength=len(placed) + 1)[1:]
            if (left >= least_seen * whole).all() and len(beneath):
                placed.append(candidate)
                owner[candidate.window][inside] = len(placed)
                whole, seen = np.append(whole, len(beneath)), np.append(left, len(beneath))
                break
    return placed, owner


def _shrink(fine: np.ndarray) -> np.ndarray:
    """Share of set subpixels: (S, S) of {0, 1} -> (H, W) float32 in [0, 1]."""
    # Whole numbers are averaged faster; 240 is a multiple of the 16 subpixels, so nothing is lost.
    fine = fine.astype(np.uint8) * np.uint8(240)
    step = 1 / SUPERSAMPLING
    coarse = cv2.resize(fine, None, fx=step, fy=step, interpolation=cv2.INTER_AREA)
    return coarse.astype(np.float32) / 240


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws one of the textures, (size, size) in [0, 1]."""
    return TEXTURES[int(rng.integers(len(TEXTURES)))](rng, size)


def _contrasting(
    rng: np.random.Generator, ground: np.ndarray, alpha: np.ndarray, plain: bool
) -> Paint:
    """Picks a paint that is seen against what an object covers.

    Args:
        rng: Source of chance.
        ground: (h, w, 3) BGR float32, the picture so far.
        alpha: (h, w) in [0, 1], the object's coverage.
        plain: Whether its colour shall tell the object from the ground.
    """
    value, look = ((0.5, 0.9), {'vividness': VIVID}) if plain else ((0.25, 0.9), {})
    mean = np.tensordot(alpha, ground, 2) / max(alpha.sum(), 1e-6)
    paints = [
        Paint.pick(rng, rng.random(), rng.uniform(*value), rng.uniform(0.1, 0.35), **look)
        for _ in range(6)
    ]
    distances = [np.abs((p.dark + p.light) / 2 - mean).mean() for p in paints]
    clear = [p for p, distance in zip(paints, distances, strict=True) if distance > LEAST_CONTRAST]
    return clear[0] if clear else paints[int(np.argmax(distances))]


def _paint_object(
    rng: np.random.Generator,
    canvas: np.ndarray,
    thing: _Placed,
    light: np.ndarray,
    plain: bool,
) -> None:
    """Paints an object with its shadow and its lit rim onto ``canvas`` (H, W, 3), in place."""
    size = len(canvas)
    depth = 1 + 0.02 * max(thing.cover.shape) / SUPERSAMPLING
    reach = int(np.ceil(4 * depth))
    rows, columns = (
        slice(max(0, s.start - reach), min(size, s.stop + reach))
        for s in (thing.rows, thing.columns)
    )
    view = canvas[rows, columns]
    height, width = view.shape[:2]
    alpha = np.zeros((height, width), np.float32)
    top, left = thing.rows.start - rows.start, thing.columns.start - columns.start
    share = _shrink(thing.cover)
    alpha[top : top + share.shape[0], left : left + share.shape[1]] = share
    paint = _contrasting(rng, view, alpha, plain)
    texture = _texture(rng, max(height, width, size // 3))[:height, :width]
    soft = cv2.GaussianBlur(alpha, (0, 0), depth)
    shift = np.array([[1, 0, light[0] * depth], [0, 1, light[1] * depth]], np.float32)
    view *= 1 - 0.45 * cv2.warpAffine(soft, shift, (width, height))[..., None]
    # The rim that faces the light is brighter, the other one darker.
    slope = light[0] * cv2.Sobel(soft, -1, 1, 0) + light[1] * cv2.Sobel(soft, -1, 0, 1)
    relief = 1 + np.clip(0.2 * depth * slope, -0.25, 0.25)
    view += alpha[..., None] * (paint.apply(texture) * relief[..., None] - view)


def _paint(rng: np.random.Generator, placed: list[_Placed], size: int, plain: bool) -> np.ndarray:
    """Paints ground and objects: (H, W, 3) uint8 BGR, anti-aliased by the subpixels' coverage."""
    look = {'vividness': GREY} if plain else {}
    ground = Paint.pick(rng, rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.45), **look)
    canvas = ground.apply(_texture(rng, size))
    angle = rng.uniform(0, 2 * np.pi)
    for thing in placed:
        _paint_object(rng, canvas, thing, np.array([np.cos(angle), np.sin(angle)]), plain)
    canvas += rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(1, 5))
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)


def _trace(visible: np.ndarray, corner: tuple[int, int]) -> list[list[float]] | None:
    """Traces the visible subpixels of an object.

    Args:
        visible: (h, w) bool, subpixels.
        corner: Image pixel (x, y) of its first one.

    Returns:
        COCO polygons, or None where a hole (of a pixel or more) needs RLE.
    """
    # Doubled, because findContours runs through the centres of the cells at the rim, half a cell
    # inside of the outline.
    scale = 2 * SUPERSAMPLING
    doubled = visible.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for contour, (_, _, _, parent) in zip(contours, tree[0] if len(contours) else (), strict=True):
        area = cv2.contourArea(contour) / scale**2
        if area < 1:
            continue
        if parent >= 0:
            return None
        vertices = cv2.approxPolyDP(contour, _TRACE_ERROR * scale, True).reshape(-1, 2)
        if len(vertices) >= 3:
            polygons.append(np.round((vertices + 0.5) / scale + corner, 2).ravel().tolist())
    return polygons


def _annotate(thing: _Placed, visible: np.ndarray, size: int) -> ShapeInstance | None:
    """Makes the annotation of an object, or None where nothing of it fills a pixel."""
    polygons = _trace(visible, (thing.columns.start, thing.rows.start))
    segmentation: Any = polygons
    if polygons:
        rle = mask_api.merge(mask_api.frPyObjects(polygons, size, size))
    else:
        mask = np.zeros((size, size), np.uint8)
        mask[thing.rows, thing.columns] = _shrink(visible) >= 0.5
        rle = mask_api.encode(np.asfortranarray(mask))
        segmentation = {'size': [size, size], 'counts': rle['counts'].decode()}
    mask = mask_api.decode(rle)
    return ShapeInstance(thing.label, segmentation, mask) if mask.any() else None


def _semantic(placed: list[_Placed], owner: np.ndarray) -> np.ndarray:
    """Class that owns most subpixels of each pixel: (H, W) uint8, 0 is background."""
    classes = np.array([0] + [1 + thing.label for thing in placed], np.uint8)
    fine = classes[owner]
    present = np.unique(classes)
    return present[np.argmax([_shrink(fine == c) for c in present], axis=0)]


def render_scene(seed: int, split: str, index: int, size: int, plain: bool = False) -> Scene:
    """Renders picture ``index`` of a split.

    Args:
        seed: Seed of the whole data set, 0 or more.
        split: ``train`` or ``val``.
        index: Number of the picture, 0 or more.
        size: Side of the square picture in pixels, at least 64.
        plain: Whether the ground is grey, the objects are vivid and none covers another. What is
            object, and which one, is soon learned then, and the boundary is what remains.

    Raises:
        ValueError: If ``split`` is unknown or ``size`` too small.
    """
    if split not in _SPLIT_KEYS:
        raise ValueError(f'split must be one of {sorted(_SPLIT_KEYS)}, but got {split!r}.')
    if size < LEAST_SIZE:
        raise ValueError(f'size must be at least {LEAST_SIZE} pixels, but got {size}.')
    rng = np.random.default_rng([seed, _SPLIT_KEYS[split], index])
    placed, owner = _compose(rng, size, 1.0 if plain else LEAST_SEEN)
    image = _paint(rng, placed, size, plain)
    instances = []
    for order, thing in enumerate(placed, start=1):
        visible = owner[thing.window] == order
        instance = _annotate(thing, visible, size)
        if instance is not None:
            instances.append(instance)
    return Scene(image, _semantic(placed, owner), instances)
