# Copyright (c) The mmpointrend authors.
"""The paper's tables as data, the runs that fill them, and how they are printed.

``tools/reproduce.py`` is the command.
"""

from mmpointrend.reproduction.definitions import (
    Column,
    Evaluation,
    Published,
    Row,
    Table,
    Training,
)
from mmpointrend.reproduction.paper import paper_tables
from mmpointrend.reproduction.report import Filled, fill, to_markdown, to_rich
from mmpointrend.reproduction.runs import Launch, Reproduction, RunError
from mmpointrend.reproduction.toy import Toy, toy_tables

__all__ = [
    'Column',
    'Evaluation',
    'Filled',
    'Launch',
    'Published',
    'Reproduction',
    'Row',
    'RunError',
    'Table',
    'Toy',
    'Training',
    'fill',
    'paper_tables',
    'to_markdown',
    'to_rich',
    'toy_tables',
]
