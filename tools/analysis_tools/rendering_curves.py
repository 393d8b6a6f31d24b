# Copyright (c) The mmpointrend authors.
"""Scaling curves of ``benchmark_rendering.py``: time against one size, the others as in COCO's case."""

from pathlib import Path
from typing import Any

from rendering_inputs import LOSSLESS, PEER
from rendering_instances import Instances, instance_case
from rendering_timing import alternate, build_all


def curves(rounds: int, device: str, shrink: int) -> dict[str, list[dict[str, Any]]]:
    """Times of the COCO case where one size changes.

    Args:
        rounds: Number of timed calls of each.
        device: Where they run.
        shrink: What image sizes and ranges are divided by.

    Returns:
        For each size the points of the curve: its value and the medians in seconds by implementation.
    """
    image = (800, 1216) if shrink == 1 else (128, 192)
    rois, classes = max(100 // shrink, 2), max(80 // shrink, 2)
    sweeps: dict[str, list[tuple[int, Instances]]] = {
        'RoIs': [(n, Instances(n, classes, image)) for n in (1, 10, 30, 100, 200, 300)],
        'classes': [(k, Instances(rois, k, image)) for k in (1, 8, 80, 365, 1203)],
        'output side': [(7 * 2**s, Instances(rois, classes, image, steps=s)) for s in range(2, 7)],
        'N': [
            (n * n, Instances(rois, classes, image, num_points=n * n)) for n in (14, 20, 28, 40, 56)
        ],
    }
    if shrink > 1:
        sweeps = {name: sweep[:2] for name, sweep in sweeps.items()}
    result: dict[str, list[dict[str, Any]]] = {}
    for name, sweep in sweeps.items():
        result[name] = []
        for value, sizes in sweep:
            case = instance_case(name, sizes, device)
            runs, _ = build_all(case, (LOSSLESS, 'adaptive'), device)
            for run in runs.values():
                run()
            times = alternate(runs, rounds, device)
            result[name].append({'value': value, **{k: v['median'] for k, v in times.items()}})
    return result


def plot(result: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the curves, a panel for each size.

    Args:
        result: Of :func:`curves`.
        path: Picture to write.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, len(result), figsize=(4 * len(result), 3.5), layout='tight')
    labels = {PEER: 'mmdet', LOSSLESS: 'ours, lossless', 'adaptive': 'ours, adaptive'}
    for axis, (name, points) in zip(axes, result.items(), strict=True):
        for key, label in labels.items():
            known = [point for point in points if key in point]
            axis.plot([p['value'] for p in known], [p[key] for p in known], marker='o', label=label)
        axis.set(xscale='log', yscale='log', xlabel=name)
        # What was measured, in plain numbers; log scales would name the decades, and neighbours of them.
        axis.set_xticks([point['value'] for point in points])
        axis.tick_params(axis='x', labelrotation=45)
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(ticker.FormatStrFormatter('%g'))
            side.set_minor_locator(ticker.NullLocator())
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('seconds')
    axes[0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
