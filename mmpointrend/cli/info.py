# Copyright (c) The mmpointrend authors.
"""``mmpointrend info``: the models of this package, their figures and their weights."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer


def command(
    name: Annotated[
        str | None, typer.Argument(help='A model of the list, or path of a config or checkpoint.')
    ] = None,
) -> None:
    """List the models by name, or tell what is known of one."""
    from rich.console import Console

    # Lines in a file are not folded to a terminal's width.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
    if name is None:
        console.print(_models())
        return
    for key, value in _facts(name):
        console.print(f'{key + ":":<14} {value}', soft_wrap=True)


def _models() -> object:
    """A table of all models."""
    from rich.table import Table

    from mmpointrend.engine.model_index import published_models

    table = Table(box=None)
    for heading in ('model', 'trained on', 'published figures', 'weights'):
        table.add_column(heading)
    for entry in published_models().values():
        figures = ', '.join(f'{name} {value:g}' for name, value in entry.figures.items())
        table.add_row(entry.name, entry.data, figures, 'published' if entry.is_published else '-')
    return table


def _facts(name: str) -> Iterator[tuple[str, object]]:
    """What is known of a model: names and values."""
    from mmpointrend.engine.config_files import (
        find_config_file,
        is_checkpoint,
        read_config,
        task_of,
    )
    from mmpointrend.engine.model_index import published_models

    if is_checkpoint(name):
        yield from _facts_of_checkpoint(name)
        return
    path = find_config_file(name)
    cfg = read_config(str(path))
    yield 'config', path
    yield 'task', f'{task_of(cfg)} segmentation'
    yield 'model', cfg.model.type
    entry = published_models().get(path.stem)
    if entry is None or not path.samefile(entry.config):
        return
    yield 'collection', entry.collection
    yield 'trained on', entry.data
    for figure, value in entry.figures.items():
        yield figure, f'{value:g}'
    if entry.is_published:
        from mmpointrend.checkpoints.download import cached_file

        yield 'weights', entry.weights
        kept = cached_file(entry.weights)
        here = 'here already' if kept.is_file() else 'downloaded when they are used'
        yield 'kept at', f'{kept} ({here})'
    else:
        yield 'weights', f'not published: train it (`mmpointrend train {entry.name}`)'


def _facts_of_checkpoint(filename: str) -> Iterator[tuple[str, object]]:
    from mmengine.runner import CheckpointLoader

    checkpoint = CheckpointLoader.load_checkpoint(filename, map_location='cpu')
    weights = checkpoint.get('state_dict', checkpoint)
    meta = checkpoint.get('meta') if weights is not checkpoint else None
    meta = meta or {}
    yield 'checkpoint', filename
    yield 'tensors', len(weights)
    yield 'parameters', f'{sum(getattr(value, "numel", int)() for value in weights.values()):,}'
    for key in ('epoch', 'iter', 'config', 'mmpointrend_version', 'mmengine_version'):
        if key in meta:
            yield key, meta[key]
    classes = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
    if classes:
        yield 'classes', ', '.join(map(str, classes))
    yield 'carries', 'its config' if meta.get('cfg') else 'no config'
