# Copyright (c) The mmpointrend authors.
"""How far a command is and how long it will take: bars in a terminal, plain lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ['ProgressReport']

# Seconds between the lines of one task.
_INTERVAL = 10.0


class ProgressReport:
    """Tasks with the time left: a context.

    Args:
        console: Where to report; it decides between bars and lines.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.fields[note]}'),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            # Lines stand in its place.
            disable=not console.is_terminal,
        )
        self._last_line: dict[TaskID, float] = {}

    def __enter__(self) -> 'ProgressReport':
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def add(self, title: str, total: int | None) -> TaskID:
        """Announce a task.

        Args:
            title: What it is called.
            total: Its number of steps; None if nobody knows.

        Returns:
            Its number here.
        """
        return self._bars.add_task(title, total=total, start=False, note='')

    def start(self, task: TaskID) -> None:
        """Begin a task, if it has not begun.

        Args:
            task: Its number.
        """
        if task in self._last_line:
            return
        self._bars.start_task(task)
        self._last_line[task] = time.monotonic()
        self._print(task)

    def advance(self, task: TaskID, note: str = '') -> None:
        """Count a step of a task.

        Args:
            task: Its number.
            note: A few words on the step.
        """
        self._bars.update(task, advance=1, note=note)
        if time.monotonic() - self._last_line[task] >= _INTERVAL:
            self._last_line[task] = time.monotonic()
            self._print(task)

    def finish(self, task: TaskID) -> None:
        """End a task.

        Args:
            task: Its number.
        """
        self.start(task)
        state = self._state(task)
        self._bars.update(task, total=state.total or state.completed, note='done')
        self._bars.update(task, completed=state.total)
        self._print(task)

    def _state(self, task: TaskID) -> Task:
        return next(state for state in self._bars.tasks if state.id == task)

    def _print(self, task: TaskID) -> None:
        if self._console.is_terminal:
            return
        state = self._state(task)
        parts = [f'{state.description}: {state.completed:.0f}']
        if state.total is not None:
            parts[0] += f'/{state.total:.0f}'
        if state.elapsed:
            parts.append(f'{state.elapsed:.0f} s')
        if state.elapsed and state.completed and state.total and state.completed < state.total:
            left = state.elapsed / state.completed * (state.total - state.completed)
            parts.append(f'{left:.0f} s left')
        if state.fields['note']:
            parts.append(state.fields['note'])
        self._console.print(', '.join(parts), highlight=False, markup=False, soft_wrap=True)
