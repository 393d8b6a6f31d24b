# Copyright (c) The mmpointrend authors.
"""What a table is made of: trainings, tests of what they have trained, rows and columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ['Column', 'Evaluation', 'Options', 'Row', 'Table', 'Training']

Options = Mapping[str, Any]
"""Settings that override a config, key with dots -> value, as ``--cfg-options`` takes them."""


@dataclass(frozen=True)
class Training:
    """A model to train, once with each seed.

    Attributes:
        name: Its folder; the same name means the same training in every table.
        config: Config below ``configs/``, without ``.py``.
        options: What differs from the config, in training and in testing.
        schedule: What differs from the config in training alone.
        starts: Trainings that it starts from: environment variable by which the config finds the
            checkpoint -> training, of the same seed.
    """

    name: str
    config: str
    options: Options = field(default_factory=dict)
    schedule: Options = field(default_factory=dict)
    starts: Mapping[str, 'Training'] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """A test of a trained model.

    Attributes:
        training: What it tests.
        name: Its folder below the training's; the same name means the same test in every table.
        config: Config to test with, where it is not that of the training.
        options: What differs from that config, beside the training's options.
    """

    training: Training
    name: str = 'test'
    config: str | None = None
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A figure that every row states.

    Attributes:
        title: Its heading.
        test: Which of a row's tests prints it.
        figure: Name by which the test prints it.
        factor: What it is multiplied by, such as 100 for percent.
    """

    title: str
    test: str
    figure: str
    factor: float = 1


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        title: What it is.
        tests: Tests that its columns read, by the columns' ``test``.
        published: The paper's figures by heading; those that are not known for sure are left out.
        gain_over: Title of the row that its gain is counted from; only where the table's figures
            are not comparable with the published ones.
    """

    title: str
    tests: Mapping[str, Evaluation]
    published: Mapping[str, float] = field(default_factory=dict)
    gain_over: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        number: Its number in the paper.
        title: What it compares.
        columns: Its columns.
        rows: Its rows.
        comparable: Whether ours are measured as the published ones, and the difference is one.
            Otherwise the gain over another row is stated, of ours and of the published ones.
        statistic: How the runs of several seeds become one figure.
        note: What the reader has to know.
    """

    number: int
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparable: bool = True
    statistic: Literal['mean', 'median'] = 'mean'
    note: str = ''
