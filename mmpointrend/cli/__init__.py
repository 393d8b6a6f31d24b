# Copyright (c) The mmpointrend authors.
"""The command ``mmpointrend``: one module for each of its subcommands.

What a subcommand needs is imported when it runs, so that ``mmpointrend --help`` answers at once.
"""

import typer

from mmpointrend.cli import convert, convert_weights, demo, doctor, info, predict, test, train
from mmpointrend.engine.launch import run_cli

__all__ = ['app', 'main']

app = typer.Typer(
    help='PointRend for MMDetection and MMSegmentation: sharp masks of images and videos.',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode='rich',
)
# argparse reads what follows these, and answers --help.
_PASSED_ON = {'allow_extra_args': True, 'ignore_unknown_options': True, 'help_option_names': []}

app.command('predict')(predict.command)
app.command('train', context_settings=_PASSED_ON, add_help_option=False)(train.command)
app.command('test', context_settings=_PASSED_ON, add_help_option=False)(test.command)
app.command('convert')(convert.command)
app.command('convert-weights')(convert_weights.command)
app.command('info')(info.command)
app.command('doctor')(doctor.command)
app.command('demo')(demo.command)


def main(argv: list[str] | None = None) -> None:
    """Run ``mmpointrend``; an error that the user can fix ends it with one sentence and status 1.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Raises:
        SystemExit: Always, with the exit status.
    """
    run_cli(lambda: app(args=argv, prog_name='mmpointrend'))
