# Copyright (c) The mmpointrend authors.
"""Rounds of fuzzing: how much of which format, what is kept, and the table of it."""

import contextlib
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.cases import LARGEST, Case, read_cases
from fuzzing.format import Format
from fuzzing.guided import guided_feed
from fuzzing.outcomes import FINDINGS, Outcome
from fuzzing.workers import DOUBTFUL, Feed, Result, feed_of, run_alone, run_cases

__all__ = ['Campaign', 'Tally', 'scratch_folder']

_SLICE = 2000
_GUIDED_SLICE = 20_000
_EXAMPLES = 3
_POOL = 3000
# Share of the inputs made out of seeds and of what was accepted.
_SOUND = 0.6


def scratch_folder() -> tempfile.TemporaryDirectory:
    """A folder in memory where the machine has one: files cost as good as nothing there."""
    memory = Path('/dev/shm')
    return tempfile.TemporaryDirectory(prefix='fuzz-', dir=memory if memory.is_dir() else None)


@dataclass
class Tally:
    """Counts of one format over all rounds.

    Attributes:
        inputs: Number of inputs.
        seconds: What they took.
        verdicts: Number of inputs by verdict.
        outcomes: Number of inputs by what tells outcomes apart.
        unconfirmed: Hangs, deaths and lacks of memory that a second, fresh process did not show.
        rounds: Number of rounds that were begun.
    """

    inputs: int = 0
    seconds: float = 0.0
    verdicts: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    unconfirmed: int = 0
    rounds: int = 0

    @property
    def findings(self) -> int:
        """Number of distinct findings."""
        return sum(key.partition(':')[0] in FINDINGS for key in self.outcomes)

    def count(self, outcome: Outcome) -> None:
        """Count an input.

        Args:
            outcome: What became of it.
        """
        self.inputs += 1
        self.verdicts[outcome.verdict] = self.verdicts.get(outcome.verdict, 0) + 1
        self.outcomes[outcome.key] = self.outcomes.get(outcome.key, 0) + 1


class Campaign:
    """Fuzzing of one format, resumable.

    Args:
        format_: The format.
        folder: Where counts (``state``), findings and inputs worth changing (``corpus``) are kept, each by the
            format's name.
        seed: Of all chance.
        seconds: How long an input may take.
        guided: Whether inputs are chosen by coverage (:mod:`fuzzing.guided`). Otherwise the same seed, code and folder
            give the same inputs.
    """

    def __init__(
        self,
        format_: Format,
        folder: Path,
        seed: int = 0,
        seconds: float = 5.0,
        guided: bool = False,
    ) -> None:
        self.format = format_
        self.guided = guided
        self.seed = seed
        self.seconds = seconds
        self._state = folder / 'state' / f'{format_.name}.json'
        self._findings = folder / 'findings' / format_.name
        self._corpus = folder / 'corpus' / format_.name
        self.tally = (
            Tally(**json.loads(self._state.read_text())) if self._state.is_file() else Tally()
        )
        self.pool = [*format_.seeds(), *read_cases(self._corpus)]
        self._sound = self.format.seeds()
        self._digests = {case.digest for case in self.pool}
        self._done = 0
        self._first: list[Case] = []

    def begin(self, once: bool = True) -> None:
        """Begin a round: with all seeds as they are, and what is run once a round.

        Args:
            once: Whether the latter are run.
        """
        self.tally.rounds += 1
        self._done = 0
        self._first = [*self.format.seeds(), *(self.format.once() if once else [])]

    def advance(self, count: int, deadline: float = float('inf')) -> int:
        """Run some more inputs of the round.

        Args:
            count: How many.
            deadline: When to stop, on ``time.monotonic``'s clock.

        Returns:
            How many were run.
        """
        before, begun = self._done, time.monotonic()
        with scratch_folder() as folder:
            while self._done - before < count and time.monotonic() < deadline:
                most = min(_GUIDED_SLICE if self.guided else _SLICE, count - (self._done - before))
                # Files of one worker do not reach the next.
                place = Path(tempfile.mkdtemp(dir=folder))
                results = run_cases(self.format.opening, place, self._feed(most), self.seconds)
                with contextlib.closing(results):
                    for result in results:
                        self._done = result.index + 1
                        self._take(result, folder)
                        if time.monotonic() >= deadline:
                            break
        self.tally.seconds += time.monotonic() - begun
        self._save()
        return self._done - before

    def _feed(self, count: int) -> Feed:
        left = len(self._first) - self._done
        if not self.guided or left > 0:
            return feed_of(self._cases(min(count, left) if self.guided else count))
        corpus = self._corpus.parents[1] / 'atheris' / self.format.name
        seed = self._done + self.seed + 1
        return guided_feed(self.format, self.pool, corpus, self._done, count, seed)

    def _cases(self, count: int) -> Iterator[tuple[int, Case]]:
        """The next inputs; made in the worker, out of what the pool holds when it starts."""
        for index in range(self._done, self._done + count):
            if index < len(self._first):
                yield index, self._first[index]
                continue
            rng = random.Random(f'{self.seed}/{self.tally.rounds}/{self.format.name}/{index}')
            # What is damaged already mostly fails at the same place again.
            sound = self._sound if rng.random() < _SOUND else self.pool
            yield index, self.format.mutate(rng, rng.choice(sound), self.pool)

    def _take(self, result: Result, folder: str) -> None:
        outcome = result.outcome
        doubtful = outcome.verdict in DOUBTFUL and outcome.key not in self.tally.outcomes
        if doubtful and result.case is not None:
            place = Path(tempfile.mkdtemp(dir=folder))
            again = run_alone(self.format.opening, place, result.case, 2 * self.seconds)
            if again.verdict not in DOUBTFUL:
                self.tally.unconfirmed += 1
                outcome = again
        new = outcome.key not in self.tally.outcomes
        self.tally.count(outcome)
        if result.case is None:
            return
        if outcome.verdict in FINDINGS:
            if self.tally.outcomes[outcome.key] <= _EXAMPLES:
                self._write_finding(result.case, outcome)
        elif len(result.case.content) <= LARGEST and len(self.pool) < _POOL:
            self._keep(result.case, new, outcome.verdict == 'accepted')

    def _keep(self, case: Case, new: bool, sound: bool) -> None:
        """Keep an input for further changes: always for a new outcome, within bounds for a new way to an old one."""
        if case.digest in self._digests or (not new and len(self.pool) > _POOL // 2):
            return
        self._digests.add(case.digest)
        self.pool.append(case)
        if sound:
            self._sound.append(case)
        self._corpus.mkdir(parents=True, exist_ok=True)
        (self._corpus / case.file_name).write_bytes(case.content)

    def _write_finding(self, case: Case, outcome: Outcome) -> None:
        self._findings.mkdir(parents=True, exist_ok=True)
        path = self._findings / case.file_name
        path.write_bytes(case.content)
        (self._findings / f'{path.name}.txt').write_text(f'{outcome.key}\n\n{outcome.details}')

    def _save(self) -> None:
        self._state.parent.mkdir(parents=True, exist_ok=True)
        self._state.write_text(json.dumps(self.tally.__dict__, indent=1, sort_keys=True))
