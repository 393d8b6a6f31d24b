# Copyright (c) The mmpointrend authors.
"""The boundary of a mask as all boundary metrics here mean it (Boundary IoU, arXiv 2103.16562).

The boundary of a mask are its pixels within d pixels (Chebyshev distance) of its complement, and
the outside of the image belongs to the complement; d is a share of the image's diagonal.
"""

import cv2
import numpy as np

from mmpointrend.errors import ConfigError


def check_dilation_ratio(ratio: float) -> float:
    """Returns ``ratio`` if it can be a share of the image's diagonal.

    Raises:
        ConfigError: If it is not in (0, 1).
    """
    if not 0 < ratio < 1:
        raise ConfigError(
            'dilation_ratio must lie between 0 and 1 (0.02 for COCO and LVIS, 0.005 for '
            f'Cityscapes), but got {ratio}.'
        )
    return ratio


def boundary_width(height: int, width: int, ratio: float) -> int:
    """Width d of the boundary in pixels: ``max(1, round(ratio x diagonal))``."""
    return max(1, round(ratio * float(np.hypot(height, width))))


def mask_boundary(mask: np.ndarray, width: int, void: np.ndarray | None = None) -> np.ndarray:
    """Pixels of a mask within ``width`` pixels of its complement.

    Args:
        mask: (H, W) bool or {0, 1}.
        width: d in pixels, at least 1.
        void: (H, W) bool; void pixels belong neither to the mask nor to its complement, so that
            an edge between the mask and void is no boundary.

    Returns:
        (H, W) bool.
    """
    inside = mask.astype(bool)
    if void is not None:
        inside = inside & ~void
    boundary = np.zeros(inside.shape, bool)
    x, y, w, h = cv2.boundingRect(inside.astype(np.uint8))
    if not w:
        return boundary
    # Nothing outside of the bounding box is in the mask, and a neighbourhood that ends at the box
    # ends at its complement, if only the void around it is taken along.
    reach = 0 if void is None else width
    rows = slice(max(0, y - reach), y + h + reach)
    columns = slice(max(0, x - reach), x + w + reach)
    crop = inside[rows, columns]
    solid = crop if void is None else crop | void[rows, columns]
    padded = cv2.copyMakeBorder(solid.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    boundary[rows, columns] = crop & ~eroded.astype(bool)
    return boundary


def distance_to_label_change(labels: np.ndarray, void: np.ndarray) -> np.ndarray:
    """How far each pixel lies from the edges between two labels.

    Pixels on both sides of an edge have distance 1: those within r are the trimap of width r on
    each side. Edges between a label and void, and the image's rim, are no edges.

    Args:
        labels: (H, W) int, the label of each pixel.
        void: (H, W) bool.

    Returns:
        (H, W) float32, Chebyshev distance in pixels; infinite where there is no edge at all.
    """
    limits = np.iinfo(np.int32)
    square = np.ones((3, 3), np.uint8)
    # float64 holds every int32. OpenCV leaves out what is outside of the image.
    highest = cv2.dilate(np.where(void, limits.min, labels).astype(np.float64), square)
    lowest = cv2.erode(np.where(void, limits.max, labels).astype(np.float64), square)
    edge = (highest != lowest) & ~void
    if not edge.any():
        return np.full(labels.shape, np.inf, np.float32)
    return cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_C, 3) + 1


def intersection_and_union(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    """Counts the pixels in both and in any of two (H, W) bool masks."""
    return int(np.count_nonzero(first & second)), int(np.count_nonzero(first | second))
