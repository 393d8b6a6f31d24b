# Copyright (c) The mmpointrend authors.
"""``mmpointrend predict``: masks of images, folders and videos."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    inputs: Annotated[
        list[str], typer.Argument(help='Images, folders, patterns and videos.', metavar='INPUT...')
    ],
    model: Annotated[
        str,
        typer.Option(
            help='Config by name (`mmpointrend info` lists them) or path, or a checkpoint with its config.'
        ),
    ],
    out: Annotated[Path, typer.Option(help='Folder to write to.')],
    weights: Annotated[
        str | None,
        typer.Option(help='Checkpoint by path or address; default those published of the model.'),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            '--format', help='Any of overlay, coco, polygons and png, with commas between.'
        ),
    ] = 'overlay,coco',
    score: Annotated[
        float | None, typer.Option(help='Instances have to score above it; default 0.5.')
    ] = None,
    batch: Annotated[int, typer.Option(help='Images at once, if they have one size.')] = 1,
    device: Annotated[
        str | None, typer.Option(help='Such as cpu or cuda:0; default a GPU if there is one.')
    ] = None,
    adaptive: Annotated[
        bool, typer.Option('--adaptive', help='Render instances at their resolution in the image.')
    ] = False,
    tta: Annotated[
        bool, typer.Option('--tta', help='Average over flips and scales; label maps alone.')
    ] = False,
    trust_config: Annotated[
        bool, typer.Option('--trust-config', help='Use the config that a checkpoint carries.')
    ] = False,
) -> None:
    """Predict sharp masks: pictures with outlines and names, COCO's JSON, polygons, label PNGs.

    The exit status is 2 if an input could not be used; the others are written all the same.
    """
    from mmpointrend.apis.writing import Request, predict_to_files

    request = Request(
        inputs=inputs,
        model=model,
        weights=weights,
        out=out,
        formats=tuple(part.strip() for part in formats.split(',') if part.strip()),
        score_thr=score,
        batch_size=batch,
        device=device,
        adaptive=adaptive or None,
        tta=tta,
        trust_config=trust_config,
    )
    raise typer.Exit(2 if predict_to_files(request) else 0)
