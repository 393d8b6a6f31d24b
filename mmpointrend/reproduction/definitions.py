# Copyright (c) The mmpointrend authors.
"""What a table is made of: trainings, tests of what they have trained, rows and columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ['Column', 'Evaluation', 'Options', 'Published', 'Row', 'Table', 'Training']

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
        statistic: How the runs of several seeds become one figure.
        runs: Number of runs, unless seeds are given; the same for all columns of a test.
    """

    title: str
    test: str
    figure: str
    factor: float = 1
    statistic: Literal['mean', 'median'] = 'mean'
    runs: int = 1


@dataclass(frozen=True)
class Published:
    """A figure of the paper.

    Attributes:
        value: The figure.
        source: Where the paper has it, such as ``Table 1``.
        checked: Whether it was checked against the paper; otherwise it is printed with a mark.
    """

    value: float
    source: str
    checked: bool = True


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        title: What it is.
        tests: Tests that its columns read, by the columns' ``test``.
        published: The paper's figures by heading; what is not known is left out.
        gain_over: Title of the row that its gain is counted from; None where none is stated.
    """

    title: str
    tests: Mapping[str, Evaluation]
    published: Mapping[str, Published] = field(default_factory=dict)
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
            Otherwise they are comparable by the gain over another row alone.
        note: What the reader has to know.
    """

    number: int
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparable: bool = True
    note: str = ''

    def seeds_of(self, test: str, given: Sequence[int] | None = None) -> tuple[int, ...]:
        """Seeds that a test is run with.

        Args:
            test: Which of a row's tests.
            given: Seeds that are asked for; None takes as many as its columns say.

        Returns:
            The seeds; none of a test that no column reads.
        """
        if given is not None:
            return tuple(given)
        runs = (column.runs for column in self.columns if column.test == test)
        return tuple(range(max(runs, default=0)))
