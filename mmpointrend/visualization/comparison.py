# Copyright (c) The mmpointrend authors.
"""Predictions side by side, with details of the boundary."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mmpointrend.visualization.canvas import (
    ZOOM_COLOURS,
    Box,
    blend_masks,
    colours_for,
    draw_contour,
    frame_panel,
    new_grid,
    outline_box,
    show_image,
    to_picture,
)

__all__ = ['compare_panels', 'find_details']


def _as_masks(prediction: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Masks (n, H, W) bool of instances, or of the ``classes`` of a label map (H, W)."""
    if prediction.ndim == 3:
        return prediction.astype(bool)
    return prediction == classes[:, None, None]


def find_details(
    first: np.ndarray, second: np.ndarray, count: int = 2, share: float = 0.25
) -> list[Box]:
    """Finds the squares in which two predictions differ most, whichever of them is right.

    Args:
        first: (n, H, W) bool instances or an (H, W) label map.
        second: The same of another prediction, instance by instance.
        count: How many squares, none over another.
        share: Their side as a share of the image's shorter side.

    Returns:
        At most ``count`` boxes; fewer where the predictions differ in fewer places.
    """
    differs = first != second
    if differs.ndim == 3:
        differs = differs.any(0)
    height, width = differs.shape
    side = max(8, round(share * min(height, width)))
    sums = cv2.boxFilter(
        differs.astype(np.float32), -1, (side, side), anchor=(0, 0), normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )[: height - side + 1, : width - side + 1].copy()  # fmt: skip
    boxes: list[Box] = []
    while len(boxes) < count and sums.size and sums.max() > 0.5:
        y, x = (int(v) for v in np.unravel_index(int(sums.argmax()), sums.shape))
        boxes.append((x, y, x + side, y + side))
        sums[max(0, y - side + 1) : y + side, max(0, x - side + 1) : x + side] = 0
    return boxes


def compare_panels(
    image: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    *,
    truth: str | None = None,
    details: Sequence[Box] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    void: int = 255,
) -> np.ndarray:
    """Draws an image and predictions side by side, and below them details of the boundary.

    Args:
        image: (H, W, 3) RGB uint8.
        predictions: Name of a panel -> instances (n, H, W) bool or a label map (H, W) of the same
            frame; the ground truth may be among them.
        truth: Name of the panel whose outline is drawn, thin and white, into all details.
        details: Boxes in image pixels; where None, the two places in which the last two
            predictions differ most.
        palette: RGB colours of the instances (n, 3) or, by label, of the classes.
        void: Label that is not drawn.

    Returns:
        (h, w, 3) RGB uint8, one labelled picture.

    Raises:
        ValueError: If there is no prediction, or ``truth`` names none.
    """
    if not predictions or (truth is not None and truth not in predictions):
        raise ValueError(f'truth must be one of {list(predictions)}, but got {truth!r}.')
    labels = [p for p in predictions.values() if p.ndim == 2]
    classes = np.unique(labels) if labels else np.zeros(0, int)
    classes = classes[classes != void]
    masks = {name: _as_masks(p, classes) for name, p in predictions.items()}
    if labels:
        colours = colours_for(int(classes.max(initial=0)) + 1, palette)[classes]
    else:
        colours = colours_for(max(len(m) for m in masks.values()), palette)
    if details is None:
        last = list(predictions.values())[-2:]
        details = find_details(last[0], last[-1])
    height, width = image.shape[:2]
    figure, axes = new_grid(1 + len(details), 1 + len(masks), width / height)
    pictures = {'input': image}
    pictures.update({n: blend_masks(image, m, colours[: len(m)]) for n, m in masks.items()})
    for column, (name, picture) in zip(axes.T, pictures.items(), strict=True):
        show_image(column[0], picture, (0, 0, width, height), name)
        for panel, box, frame in zip(column[1:], details, ZOOM_COLOURS * 9, strict=False):
            outline_box(column[0], box, frame)
            show_image(panel, picture, box)
            frame_panel(panel, frame)
            if truth is not None and name != 'input':
                for mask in masks[truth]:
                    draw_contour(panel, mask, 'white', 0.9)
    return to_picture(figure)
