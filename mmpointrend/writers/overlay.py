# Copyright (c) The mmpointrend authors.
"""Predictions as pictures: outlines over the image, with names and scores."""

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmpointrend.contours import Polygon, trace_mask
from mmpointrend.errors import OutputError
from mmpointrend.images import Picture
from mmpointrend.visualization.canvas import COLOURS
from mmpointrend.writers.base import Output, Writer, is_semantic, to_array

__all__ = ['OverlayWriter', 'draw_overlay']

# Smaller images are enlarged until their longer side has as many pixels, for names to have room.
_LEAST_SIDE = 480
_FILL = 0.4
_SHIFT = 4
_QUALITY = 92
# Side of the map on which a place for a class's name is searched.
_SEARCH_SIDE = 256


class OverlayWriter(Writer):
    """Writes ``overlay/NAME.jpg``, and ``overlay/NAME.mp4`` of a video.

    Outlines of instances are those of the rendered logits if the sample has them, others run along the mask's pixels.
    """

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._video = ExitStack()
        self._video_name: str | None = None
        self._frames: Any = None

    def add(self, picture: Picture, sample: Any) -> None:
        """Write the picture of an image, or the next one of a video.

        Args:
            picture: The image.
            sample: Its prediction.
        """
        drawn = draw_overlay(picture.image, sample, self.output)
        if picture.frame is not None:
            self._add_frame(picture, drawn)
            return
        self.close()
        name = f'overlay/{self.output.name_of(picture)}.jpg'
        with self.output.replacing(name) as path:
            _, content = cv2.imencode('.jpg', drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            path.write_bytes(content.tobytes())

    def _add_frame(self, picture: Picture, drawn: np.ndarray) -> None:
        assert picture.frame is not None
        # Sides of most videos are even.
        height, width = (side - side % 2 for side in drawn.shape[:2])
        if self._video_name != picture.name or picture.frame.index == 0:
            self.close()
            self._open(picture, width, height)
            self._video_name = picture.name
        self._frames.write(drawn[:height, :width])

    def _open(self, picture: Picture, width: int, height: int) -> None:
        assert picture.frame is not None
        name = f'overlay/{self.output.name_of(picture)}.mp4'
        with ExitStack() as stack:
            path = stack.enter_context(self.output.replacing(name))
            # The suffix tells OpenCV the container.
            whole = path.with_name(f'{path.name}.mp4')
            whole.unlink(missing_ok=True)
            stack.callback(lambda: whole.replace(path) if whole.exists() else None)
            code = cv2.VideoWriter.fourcc(*'mp4v')
            self._frames = cv2.VideoWriter(str(whole), code, picture.frame.fps, (width, height))
            stack.callback(self._frames.release)
            if not self._frames.isOpened():
                raise OutputError(
                    f'{self.output.folder / name} cannot be written ({width} x {height} pixels, '
                    f'{picture.frame.fps:g} frames per second): leave overlay out for this video.'
                )
            self._video = stack.pop_all()

    def close(self) -> None:
        """Finish the video that is being written."""
        self._video_name = self._frames = None
        self._video.close()


def draw_overlay(image: np.ndarray, sample: Any, output: Output) -> np.ndarray:
    """Draw a prediction over its image.

    Args:
        image: BGR, uint8, shape (H, W, 3).
        sample: Its prediction.
        output: What classes are called, and their colours.

    Returns:
        BGR, uint8. Images whose longer side has fewer than 480 pixels are enlarged by a whole number.
    """
    drawing = _Drawing(image)
    if is_semantic(sample):
        labels = to_array(sample.pred_sem_seg.data)[0]
        for label in np.unique(labels).tolist():
            mask = labels == label
            colour = output.colour(label)
            drawing.add(mask, trace_mask(mask), colour)
            drawing.name(output.class_name(label), colour, _deepest(mask))
        return drawing.finish()
    instances = sample.pred_instances
    masks = instances.masks if 'masks' in instances else [None] * len(instances)
    contours = instances.get('contours', [None] * len(instances))
    scores, labels = to_array(instances.scores), to_array(instances.labels)
    # The best on top.
    for rank, index in enumerate(np.argsort(scores, kind='stable').tolist()):
        colour = COLOURS[(len(scores) - 1 - rank) % len(COLOURS)]
        text = f'{output.class_name(int(labels[index]))} {scores[index]:.2f}'
        x1, y1, x2, y2 = to_array(instances.bboxes[index]).tolist()
        if masks[index] is not None:
            mask = to_array(masks[index]).astype(bool)
            contour = contours[index] if contours[index] is not None else trace_mask(mask)
        else:
            mask = np.zeros(image.shape[:2], bool)
            contour = (Polygon(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])),)
        drawing.add(mask, contour, colour)
        drawing.name(text, colour, (x1, y1), inside=False)
    return drawing.finish()


def _deepest(mask: np.ndarray) -> tuple[float, float]:
    """A place (x, y) of a mask that is far from its edges, in pixels."""
    height, width = mask.shape
    scale = max(1.0, max(height, width) / _SEARCH_SIDE)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if not small.any():
        y, x = np.argwhere(mask)[0]
        return float(x), float(y)
    distances = cv2.distanceTransform(np.pad(small, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distances.argmax()), distances.shape)
    return (float(x) + 0.5) * width / size[0], (float(y) + 0.5) * height / size[1]


class _Drawing:
    """A picture that is drawn on: fills first, then outlines, and names on top of all."""

    def __init__(self, image: np.ndarray) -> None:
        self._enlargement = max(1, -(-_LEAST_SIDE // max(image.shape[:2])))
        self._picture = image.copy()
        if self._enlargement > 1:
            self._picture = np.kron(image, np.ones((self._enlargement,) * 2 + (1,), np.uint8))
        side = max(self._picture.shape[:2])
        self._line = max(1, round(side / 600))
        self._font_size = max(12, round(side / 60))
        self._outlines: list[tuple[tuple[Polygon, ...], tuple[int, ...]]] = []
        self._names: list[tuple[str, tuple[int, ...], tuple[float, float], bool]] = []

    def add(self, mask: np.ndarray, contour: tuple[Polygon, ...], colour: tuple[int, ...]) -> None:
        """Fill a mask, and take up its outline; the colour is RGB."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if len(rows):
            place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            window = np.repeat(
                np.repeat(mask[place], self._enlargement, axis=0), self._enlargement, axis=1
            )
            here = tuple(
                slice(part.start * self._enlargement, part.stop * self._enlargement)
                for part in place
            )
            pixels = self._picture[here][window]
            paint = np.array(colour[::-1], np.float32) * _FILL
            self._picture[here][window] = (pixels * (1 - _FILL) + paint).astype(np.uint8)
        self._outlines.append((contour, colour))

    def name(
        self, text: str, colour: tuple[int, ...], at: tuple[float, float], inside: bool = True
    ) -> None:
        """Take up a name, centred at a place of the image, or above it."""
        self._names.append((text, colour, at, inside))

    def finish(self) -> np.ndarray:
        """Draw outlines and names."""
        for contour, colour in self._outlines:
            # Line ends at 1 / 16 of a pixel; OpenCV's whole numbers are centres of pixels.
            rings = [
                np.round((ring * self._enlargement - 0.5) * 2**_SHIFT).astype(np.int32)
                for part in contour
                for ring in part.rings
            ]
            cv2.polylines(self._picture, rings, True, colour[::-1], self._line, cv2.LINE_AA, _SHIFT)
        labels = [
            (_text_image(text, self._font_size, colour), at, inside)
            for text, colour, at, inside in self._names
        ]
        # The best chooses its place first, and is on top.
        places: list[tuple[int, int, int, int]] = []
        for label, at, inside in reversed(labels):
            places.append(self._place(label.shape, at, inside, places))
        for (label, _, _), (left, top, right, bottom) in zip(labels, places[::-1], strict=True):
            self._picture[top:bottom, left:right] = label[: bottom - top, : right - left]
        return self._picture

    def _place(
        self,
        shape: tuple[int, ...],
        at: tuple[float, float],
        inside: bool,
        taken: list[tuple[int, int, int, int]],
    ) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of a label of a shape (rows, columns, 3), beside others as far as possible."""
        height, width = self._picture.shape[:2]
        rows, columns = min(shape[0], height), min(shape[1], width)
        x, y = (value * self._enlargement for value in at)
        if inside:
            x, y = x - columns / 2, y + rows / 2
        left = int(np.clip(x, 0, width - columns))
        places = []
        # Above the place, then a little below it: farther away it would be another object's.
        for step in range(-1, 4):
            top = int(np.clip(y + step * rows, 0, height - rows))
            places.append((left, top, left + columns, top + rows))
        free = (place for place in places if not any(_overlap(place, one) for one in taken))
        return next(free, places[0])


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # It has Latin, Greek and Cyrillic, other than OpenCV's.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf'), size)


def _text_image(text: str, size: int, colour: tuple[int, ...]) -> np.ndarray:
    """A name on its colour, BGR, uint8, black or white as is easier to read."""
    _, top, _, bottom = _font(size).getbbox('Ag' + text)
    pad = max(1, size // 6)
    width = int(_font(size).getlength(text)) + 2 * pad
    image = Image.new('RGB', (width, int(bottom - top) + 2 * pad), colour)
    is_light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    ink = 'black' if is_light else 'white'
    ImageDraw.Draw(image).text((pad, pad - top), text, ink, _font(size))
    return np.asarray(image)[..., ::-1]
