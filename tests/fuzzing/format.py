# Copyright (c) The mmpointrend authors.
"""What a format consists of."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzzing.cases import SPECIAL, Case, read_cases

__all__ = ['SEEDS', 'Format', 'Mutation', 'Opening', 'special_cases']

SEEDS = Path(__file__).resolve().parents[1] / 'data' / 'fuzz'
"""Folder of the seeds, one folder for each format."""

Mutation = Callable[[random.Random, Case, Sequence[Case]], Case]
Opening = Callable[[Path], Callable[[Case], object]]


@dataclass(frozen=True)
class Format:
    """A kind of input, and what of the product reads it.

    Attributes:
        name: Its name.
        share: How many of a million inputs are of it.
        opening: Prepares the entry points: takes an empty folder, gives a function that hands an input to the
            product. What that returns tells accepted inputs apart.
        mutate: Makes an input out of one that was worth keeping and all of these.
        once: Inputs that are run once a round and not changed: they may be slow or large.
    """

    name: str
    share: int
    opening: Opening
    mutate: Mutation
    once: Callable[[], list[Case]]

    def seeds(self) -> list[Case]:
        """Seeds of the format.

        Returns:
            The inputs in its folder.
        """
        return read_cases(SEEDS / self.name)


def special_cases(*kinds: str) -> list[Case]:
    """Things in the place of files that are none.

    Args:
        *kinds: File names.

    Returns:
        Each thing under each name.
    """
    return [Case(kind, content) for kind in kinds for content in SPECIAL.values()]
