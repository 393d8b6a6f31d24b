# Copyright (c) The mmpointrend authors.
"""What metrics answer where nothing was tested."""

import logging
from collections.abc import Iterable

from mmengine.logging import print_log

__all__ = ['no_figures']


def no_figures(names: Iterable[str], metric: str | None) -> dict[str, float]:
    """Figures of no image, with a warning.

    Args:
        names: Names of the figures.
        metric: What the warning calls the metric.

    Returns:
        nan for each name.
    """
    print_log(
        f'No image was tested, so that the figures of {metric} are nan: check that the test set '
        'has images.',
        'current',
        logging.WARNING,
    )
    return dict.fromkeys(names, float('nan'))
