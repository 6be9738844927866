"""Progress of long work: the seam that jobs report to, a null object, and the bars of a terminal."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Advance: TypeAlias = Callable[[int], None]


class ProgressReport(Protocol):
    """Where a job says what it is doing."""

    def step(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a step; the function it gives is told how much more of `total` is done."""
        ...


@dataclass(frozen=True, slots=True)
class Quiet:
    """Says nothing: tests, `--quiet`, no terminal."""

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Advance]:  # noqa: ARG002
        """Do nothing with what is reported."""
        yield lambda done: None  # noqa: ARG005


@dataclass(frozen=True, slots=True)
class TerminalBars:
    """A bar with elapsed time for each step, on a terminal."""

    console: Console

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show a bar until the step ends (a spinner when the total is unknown)."""
        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
        if total is not None:
            columns.insert(3, MofNCompleteColumn())
        with Progress(*columns, console=self.console) as bars:
            task = bars.add_task(name, total=total)
            yield lambda done: bars.advance(task, done)
            bars.update(task, total=total or 1, completed=total or 1)
