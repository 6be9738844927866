"""Bars for whoever watches: a terminal without `--quiet` gets them, everything else gets silence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pond.cli.session import Session
from training.progress import ProgressReport, Quiet, TerminalBars


def report(session: Session) -> ProgressReport:
    """Return where long work says what it is doing."""
    return TerminalBars(session.err) if session.shows_progress else Quiet()


@contextmanager
def reading(session: Session, name: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show how much of a file is read: the function it gives takes (bytes read, bytes in all)."""
    if not session.shows_progress:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeElapsedColumn(), console=session.err) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
