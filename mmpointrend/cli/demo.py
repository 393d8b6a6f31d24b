# Copyright (c) The mmpointrend authors.
"""``mmpointrend demo``: PointRend against the standard heads, from nothing, in minutes on a CPU."""

import os
from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help='Folder to write to.')] = Path('work_dirs/demo'),
    seed: Annotated[int, typer.Option(help='Of the pictures and of the runs.')] = 0,
    train: Annotated[int, typer.Option(help='Number of training pictures.')] = 240,
    val: Annotated[int, typer.Option(help='Number of validation pictures.')] = 40,
    size: Annotated[int, typer.Option(help='Side of the pictures in pixels.')] = 320,
    iters: Annotated[
        int | None, typer.Option(help="Iterations of every run; default the configs'.")
    ] = None,
    threads: Annotated[int, typer.Option(help='Threads to compute with.')] = os.cpu_count() or 1,
    fresh: Annotated[bool, typer.Option('--fresh', help='Forget what is finished.')] = False,
) -> None:
    """Train both tasks with and without PointRend on generated pictures; draw and compare."""
    from mmpointrend.demo import Options, run_demo

    run_demo(Options(out, seed, train, val, size, iters), threads, fresh)
