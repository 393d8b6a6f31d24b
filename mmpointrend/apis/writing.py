# Copyright (c) The mmpointrend authors.
"""Predictions of many files, written as they come: what ``mmpointrend predict`` does."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from mmpointrend.apis.models import load_model
from mmpointrend.apis.prediction import Sample, predict_pictures
from mmpointrend.engine.config_files import task_of
from mmpointrend.errors import ConfigError, InputError, sentence_of
from mmpointrend.images import Picture, Video, find_inputs, is_video, open_image
from mmpointrend.polygons import contours_kept
from mmpointrend.progress import ProgressReport
from mmpointrend.writers import WRITERS, open_writers

__all__ = ['Request', 'predict_to_files']

_SCORE = 0.5
# Formats that show the outlines of the rendered logits.
_CONTOURS = {'overlay', 'polygons'}


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        inputs: Files, folders and patterns.
        model: Config or checkpoint, as :func:`~mmpointrend.apis.load_model` takes it.
        out: Folder to write to.
        weights: As :func:`~mmpointrend.apis.load_model` takes it.
        formats: Names of :data:`~mmpointrend.writers.WRITERS`.
        score_thr: Score that instances have to have; None is 0.5 for instances.
        batch_size: Images at once.
        device: As :func:`~mmpointrend.apis.load_model` takes it.
        adaptive: As :func:`~mmpointrend.apis.predict` takes it.
        tta: As :func:`~mmpointrend.apis.predict` takes it.
        trust_config: As :func:`~mmpointrend.apis.load_model` takes it.
    """

    inputs: Sequence[str]
    model: str
    out: Path
    weights: str | None = None
    formats: Sequence[str] = ('overlay', 'coco')
    score_thr: float | None = None
    batch_size: int = 1
    device: str | None = None
    adaptive: bool | None = None
    tta: bool = False
    trust_config: bool = False


def predict_to_files(request: Request) -> list[str]:
    """Predict and write.

    Args:
        request: What is asked for.

    Returns:
        A sentence for each input that could not be used; the others are written.

    Raises:
        PointRendError: Nothing can be done: no input, no model, no such format.
    """
    unknown = [name for name in request.formats if name not in WRITERS]
    if unknown or not request.formats:
        raise ConfigError(
            f'--format {",".join(request.formats)}: choose from {", ".join(WRITERS)}, with commas between.'
        )
    paths = find_inputs(request.inputs)
    model = load_model(
        request.model, request.weights, device=request.device, trust_config=request.trust_config
    )
    score_thr = request.score_thr
    if score_thr is None and task_of(model.cfg) == 'instance':
        score_thr = _SCORE
    reading = _Reading(paths)
    pictures = iter(reading)

    def answers() -> Iterator[tuple[Picture, Sample]]:
        return predict_pictures(
            model,
            pictures,
            batch_size=request.batch_size,
            score_thr=score_thr,
            adaptive=request.adaptive,
            tta=request.tta,
        )

    # Before anything is written: it refuses what the model cannot do.
    stream = answers()
    console = Console(file=sys.stdout)
    with ExitStack() as stack:
        writers = open_writers(request.formats, request.out, model.dataset_meta)
        for writer in writers:
            stack.callback(writer.close)
        report = stack.enter_context(ProgressReport(console))
        keeps = _CONTOURS & set(request.formats)
        stack.enter_context(contours_kept(model) if keeps else nullcontext())
        task = report.add('predicting', reading.total)
        report.start(task)
        is_finished = False
        while not is_finished:
            try:
                for picture, sample in stream:
                    for writer in writers:
                        writer.add(picture, sample)
                    reading.is_done(picture)
                    report.advance(task, Path(picture.name).name)
                is_finished = True
            except (MemoryError, RuntimeError) as error:
                if not _is_of_memory(error):
                    raise
                reading.give_up()
                stream = answers()
        report.finish(task)
    _tell(console, request.out, reading)
    return reading.failures


class _Reading:
    """Images and frames of inputs, and what of them cannot be used."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._pending: list[Picture] = []
        self.total: int | None = len(paths)
        self.count = 0
        self.failures: list[str] = []
        for path in filter(is_video, paths):
            try:
                frames = len(Video(path))
            except InputError:
                continue
            known = self.total is not None and frames > 0
            self.total = self.total - 1 + frames if known and self.total is not None else None

    def __iter__(self) -> Iterator[Picture]:
        for path in self._paths:
            try:
                for picture in Video(path) if is_video(path) else [open_image(path)]:
                    self._pending.append(picture)
                    yield picture
            except InputError as error:
                self.failures.append(sentence_of(error))

    def is_done(self, picture: Picture) -> None:
        """Note that an image is written."""
        self.count += 1
        self._pending = [other for other in self._pending if other is not picture]

    def give_up(self) -> None:
        """Leave out the images that did not fit into memory."""
        for picture in self._pending:
            height, width = picture.image.shape[:2]
            where = f' (frame {picture.frame.index})' if picture.frame else ''
            self.failures.append(
                f'{picture.name}{where} with {width} x {height} pixels does not fit into memory: make it '
                'smaller, or give --batch 1 or --device cpu.'
            )
        self._pending.clear()


def _is_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch has a class of its own for GPUs alone."""
    return isinstance(
        error, MemoryError | torch.OutOfMemoryError
    ) or "can't allocate memory" in str(error)


def _tell(console: Console, out: Path, reading: _Reading) -> None:
    lines = [
        f'{len(reading.failures)} could not be used:',
        *(f'- {one}' for one in reading.failures),
    ]
    _print(console, f'{reading.count} images and frames: {out}')
    for line in lines if reading.failures else ():
        _print(Console(stderr=True), line)


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
