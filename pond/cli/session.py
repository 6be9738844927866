"""What every command of the line gets: the home, the way to speak, the shop it is about."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from features.shop import Shop

DEFAULT_HOME: Final = "var"
PREFIX: Final = "POND_"
FILE_WIDTH: Final = 140


@dataclass(frozen=True)
class Session:
    """One run of the command line.

    Attributes
    ----------
    home : Path
        Absolute; holds everything Pond keeps.
    quiet, debug : bool
        As asked on the command line.
    environ : mapping
        The `POND_*` part of the environment: read here, once, and handed down.
    """

    home: Path
    quiet: bool
    debug: bool
    environ: Mapping[str, str]

    @classmethod
    def of(
        cls, home: Path | None, environ: Mapping[str, str], *, quiet: bool = False, debug: bool = False
    ) -> "Session":
        """Settle the home: the command line before POND_HOME before ./var."""
        mine = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
        place = home if home is not None else Path(mine.get("POND_HOME") or DEFAULT_HOME)
        return cls(Path(os.path.abspath(place.expanduser())), quiet, debug, mine)  # noqa: PTH100 - a home that is a link stays one

    @property
    def shows_progress(self) -> bool:
        """Whether somebody watches: a terminal, and not `--quiet`."""
        return not self.quiet and sys.stderr.isatty()

    @cached_property
    def out(self) -> "Console":
        """Where results go: standard output, plain when it is not a terminal."""
        from rich.console import Console

        return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)

    @cached_property
    def err(self) -> "Console":
        """Where progress and remarks go: standard error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line of the result whole, however long: it may be copied or read by a program."""
        self.out.print(text, style=style, markup=False, soft_wrap=True)

    def remark(self, text: str) -> None:
        """Say what is going on, unless asked to be quiet."""
        if not self.quiet:
            self.err.print(text, markup=False, soft_wrap=True)

    def shop(self, name: str) -> "Shop":
        """Open a shop of this home, or raise `UnknownShop`."""
        from features.shop import open_shop

        return open_shop(self.home, name)


def session_of(ctx: typer.Context) -> Session:
    """Return the session of a command's context."""
    found = ctx.find_object(Session)
    if found is None:
        raise RuntimeError("a command was called without `start`")
    return found


def quiet_mlflow() -> None:
    """Keep MLflow's remarks about its own database out of our output; it reads this when it is imported."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
