# Copyright (c) The mmpointrend authors.
"""A hook that draws the renderer's steps while a model is tested."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mmcv
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmpointrend.errors import ConfigError
from mmpointrend.points import SubdivisionStep
from mmpointrend.registry import HOOKS
from mmpointrend.visualization.canvas import Box
from mmpointrend.visualization.recording import record_subdivision
from mmpointrend.visualization.subdivision import draw_subdivision

__all__ = ['SubdivisionVisualizationHook']


@HOOKS.register_module()
class SubdivisionVisualizationHook(Hook):
    """Writes the subdivision of some of the test images as pictures, for both tasks.

    Of an image with instances, the detection with the highest score is drawn. Add it with
    ``custom_hooks=[dict(type='mmpointrend.SubdivisionVisualizationHook')]``.

    Args:
        interval: Every which batch is drawn, at least 1.
        out_dir: Folder of the pictures; ``subdivision`` in the run's folder where None.

    Raises:
        ConfigError: If ``interval`` is less than 1; at the start of a test, if the model has no
            PointRend head or predicts in windows (``mode='slide'``), each of which is a rendering
            of its own.
    """

    priority = 'LOWEST'

    def __init__(self, interval: int = 50, out_dir: str | None = None) -> None:
        if interval < 1:
            raise ConfigError(f'interval is {interval}: set it to an integer of at least 1')
        self.interval = interval
        self.out_dir = out_dir
        self._recording = ExitStack()
        self._renderings: list[list[SubdivisionStep]] = []

    def before_test(self, runner: Runner) -> None:
        """Refuses models that cannot be drawn.

        Args:
            runner: The runner.
        """
        model = _unwrapped(runner.model)
        with record_subdivision(model):
            test_cfg = getattr(model, 'test_cfg', None) or {}
        if test_cfg.get('mode') == 'slide':
            raise ConfigError(
                "SubdivisionVisualizationHook draws whole images, but model.test_cfg.mode is 'slide': "
                "set it to 'whole' or leave the hook out"
            )

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begins to record a batch that is to be drawn.

        Args:
            runner: The runner.
            batch_idx: Number of the batch.
            data_batch: Not used.
        """
        if batch_idx % self.interval == 0:
            recorder = record_subdivision(_unwrapped(runner.model))
            self._renderings = self._recording.enter_context(recorder)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Draws what was recorded.

        Args:
            runner: The runner.
            batch_idx: Number of the batch.
            data_batch: Not used.
            outputs: The predictions.
        """
        self._recording.close()
        if batch_idx % self.interval:
            return
        folder = Path(self.out_dir or Path(runner.log_dir) / 'subdivision')
        first_region = 0
        for index, sample in enumerate(outputs or ()):
            found = sample.get('pred_instances')
            if found is None:
                region, box, view = index, *_padded_frame(sample)
            else:
                region, box, view = first_region, None, None
                first_region += len(found)
                if not len(found):
                    continue
                best = int(found.scores.argmax())
                region, box = region + best, tuple(found.bboxes[best].tolist())
            image = mmcv.imread(sample.img_path, channel_order='rgb')
            picture = draw_subdivision(
                image,
                self._renderings[0],
                box,
                region=region,
                view=view,
                align_corners=getattr(_unwrapped(runner.model), 'align_corners', False),
                palette=None if found is not None else runner.visualizer.dataset_meta['palette'],
            )
            path = folder / f'{Path(sample.img_path).stem}.png'
            mmcv.imwrite(picture[..., ::-1], str(path))


def _unwrapped(model: Any) -> Any:
    """The model inside of a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def _padded_frame(sample: BaseDataElement) -> tuple[Box, Box]:
    """Box of the network's padded input, and the image itself, in the original image's pixels."""
    height, width = sample.ori_shape[:2]
    rows, columns = sample.img_shape[:2]
    padded = sample.get('pad_shape', sample.img_shape)
    box = (0.0, 0.0, width * padded[1] / columns, height * padded[0] / rows)
    return box, (0.0, 0.0, float(width), float(height))
