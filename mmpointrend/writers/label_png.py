# Copyright (c) The mmpointrend authors.
"""Predictions as PNGs of numbers."""

import json
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from mmpointrend.images import Picture
from mmpointrend.visualization.canvas import COLOURS
from mmpointrend.writers.base import Output, Writer, is_semantic, to_array

__all__ = ['LabelPngWriter']


class LabelPngWriter(Writer):
    """Writes ``png/NAME.png``, of one channel.

    Of a label map a pixel is the number of its class, in the colours of the dataset. Of instances it is the number of
    the instance, from 1, and 0 where there is none; where masks overlap, the one of the higher score is on top. Which
    class and score each number has stands in the PNG's text ``instances``, a list of ``[number, class, score]``.

    Numbers above 255 take 16 bits, which have no colours. Frames of a video are ``png/NAME_000000.png`` and so on.
    """

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._class_palette = [
            value
            for label in range(256)
            for value in (output.colour(label) if label < len(output.palette) else (label,) * 3)
        ]
        self._number_palette = [0, 0, 0]
        for number in range(255):
            self._number_palette += COLOURS[number % len(COLOURS)]

    def add(self, picture: Picture, sample: Any) -> None:
        """Write the PNG of an image.

        Args:
            picture: The image.
            sample: Its prediction.
        """
        texts = PngImagePlugin.PngInfo()
        if is_semantic(sample):
            numbers, palette = to_array(sample.pred_sem_seg.data)[0], self._class_palette
        else:
            numbers, palette = (
                self._numbers(sample, picture.image.shape[:2], texts),
                self._number_palette,
            )
        is_small = numbers.max(initial=0) < 256
        image = Image.fromarray(numbers.astype(np.uint8 if is_small else np.uint16))
        if is_small:
            image.putpalette(palette)
        name = self.output.name_of(picture)
        if picture.frame is not None:
            name = f'{name}_{picture.frame.index:06d}'
        with self.output.replacing(f'png/{name}.png') as path:
            image.save(path, format='PNG', pnginfo=texts)

    def close(self) -> None:
        """Each file is finished already."""

    def _numbers(
        self, sample: Any, size: tuple[int, int], texts: PngImagePlugin.PngInfo
    ) -> np.ndarray:
        instances = sample.pred_instances
        scores, labels = to_array(instances.scores), to_array(instances.labels)
        numbers = np.zeros(size, np.uint16)
        for index in np.argsort(scores, kind='stable').tolist():
            numbers[to_array(instances.masks[index]).astype(bool)] = index + 1
        entries = [
            [index + 1, self.output.class_name(label), round(score, 4)]
            for index, (label, score) in enumerate(
                zip(labels.tolist(), scores.tolist(), strict=True)
            )
        ]
        texts.add_text('instances', json.dumps(entries))
        return numbers
