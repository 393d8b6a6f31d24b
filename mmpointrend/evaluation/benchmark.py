# Copyright (c) The mmpointrend authors.
"""The figures that a metafile publishes for a config, and whether an evaluator's figures are these.

A config's entry in the ``metafile.yml`` beside it holds ``Results``, a list of entries with ``Metrics``: figures by
name, in percent. ``Metadata.Tolerance`` is by how much a figure may differ, in the same unit.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpointrend.engine.model_index import entries_of
from mmpointrend.errors import ConfigError

__all__ = ['DEFAULT_TOLERANCE', 'Comparison', 'Figure', 'compare', 'published_figures']

# Where a metafile states none: what repeated trainings of one COCO recipe differ by, in points of AP.
DEFAULT_TOLERANCE = 0.2

# What evaluators call the figures of metafiles, and by what theirs are multiplied.
_KEYS: dict[str, tuple[tuple[str, float], ...]] = {
    # The first that is printed: Cityscapes' configs print COCO's AP of the same masks as well.
    'mask AP': (('cityscapes/mAP', 100), ('coco/segm_mAP', 100), ('lvis/segm_AP', 100)),
    'box AP': (('coco/bbox_mAP', 100), ('lvis/bbox_AP', 100)),
    'Boundary AP': (('coco/boundary_mAP', 100),),
    'mask AP*': (('ap_star/segm_mAP', 100),),
    'mask AP*-v1': (('ap_star_v1/segm_mAP', 100),),
    'mIoU': (('mIoU', 1),),
    'boundary IoU': (('mBoundaryIoU', 1),),
}


@dataclass(frozen=True)
class Figure:
    """A published figure.

    Attributes:
        name: As the metafile has it: 'mask AP', 'box AP', 'Boundary AP', 'mask AP*', 'mask AP*-v1', 'mIoU' or
            'boundary IoU', with a remark in brackets or without, in percent; or an evaluator's own key, in its unit.
        value: The figure.
        tolerance: By how much it may differ.
    """

    name: str
    value: float
    tolerance: float


@dataclass(frozen=True)
class Comparison:
    """A published figure beside the measured one.

    Attributes:
        figure: The published one.
        measured: The measured one in the same unit; None where the evaluator prints none.
    """

    figure: Figure
    measured: float | None

    @property
    def difference(self) -> float | None:
        """Measured less published."""
        return None if self.measured is None else self.measured - self.figure.value

    @property
    def verdict(self) -> str:
        """'inside' the tolerance, 'below' or 'above' it, or 'not printed'.

        A figure that is too good is not the published one either: other data, another protocol.
        """
        if self.difference is None:
            return 'not printed'
        # Beyond their decimals figures are rounding; and what is no number is not inside.
        if abs(self.difference) <= self.figure.tolerance + 1e-6:
            return 'inside'
        return 'above' if self.difference > 0 else 'below'


def published_figures(
    config: str | Path, names: Sequence[str] | None = None, tolerance: float | None = None
) -> list[Figure]:
    """Read what the metafile publishes for a config.

    Args:
        config: Path of the config; its metafile lies beside it.
        names: Names of the figures that are wanted; all where it is None.
        tolerance: Replaces the metafile's.

    Returns:
        The figures, at least one.

    Raises:
        ConfigError: There is no metafile, no entry of the config in it, no figure, or not one of a wanted name.
    """
    config = Path(config)
    path = config.parent / 'metafile.yml'
    if not path.is_file():
        raise ConfigError(f'{config} has no {path.name} beside it that publishes its figures')
    metrics, stated = _read(path, config.stem)
    tolerance = stated if tolerance is None else tolerance
    unknown = [name for name in names or () if name not in metrics]
    if unknown:
        raise ConfigError(
            f'{path} publishes no {", ".join(unknown)} of {config.stem}: choose from {", ".join(metrics)}'
        )
    values = {'Tolerance': tolerance, **metrics}
    for name, value in values.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ConfigError(f'{path} has {value!r} as {name} of {config.stem}: write a number')
    if tolerance < 0:
        raise ConfigError(f'the tolerance of {config.stem} is {tolerance}: write 0 or more')
    return [Figure(name, float(metrics[name]), float(tolerance)) for name in names or metrics]


def _read(path: Path, name: str) -> tuple[dict[str, Any], Any]:
    """Figures by name, and tolerance, of a config in a metafile."""
    try:
        entries = entries_of(path)
        entry = entries.get(name) or {}
        metrics: dict[str, Any] = {}
        for result in entry.get('Results') or []:
            metrics.update(result.get('Metrics') or {})
        tolerance = (entry.get('Metadata') or {}).get('Tolerance', DEFAULT_TOLERANCE)
    except Exception as error:
        # No YAML, or whatever lists and dicts in other places lead to.
        raise ConfigError(
            f'{path} is no metafile ({type(error).__name__}: {error}): write Models, a list of entries with Name, '
            'Metadata and Results'
        ) from error
    if name not in entries:
        raise ConfigError(f'{path} has no entry {name}: add one to its Models')
    if not metrics:
        raise ConfigError(f'{path} publishes no figure of {name}: add Results with Metrics')
    return metrics, tolerance


def compare(figure: Figure, printed: Mapping[str, float]) -> Comparison:
    """Put a published figure beside the measured one.

    Args:
        figure: The published one.
        printed: The evaluator's figures by its own keys.

    Returns:
        Both.
    """
    name = re.sub(r' *\(.*\)$', '', figure.name)
    for key, factor in _KEYS.get(name, ((figure.name, 1),)):
        if key in printed:
            return Comparison(figure, float(printed[key]) * factor)
    return Comparison(figure, None)
