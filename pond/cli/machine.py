"""`pond doctor`."""

import sys
from pathlib import Path
from typing import Final

import typer

from pond.cli.session import session_of

MISSING: Final = 2


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(doctor)


def doctor(ctx: typer.Context) -> None:
    """Say what is missing on this machine and how to get it; exit 2 when something needed is."""
    from rich.text import Text

    from pond.cli.tables import table
    from pond.doctor import examine

    session = session_of(ctx)
    findings = examine(session.home, session.environ, Path(__file__).resolve().parents[2])
    colour = {"ok": "green", "missing": "bold red", "optional": "yellow"}
    rows = [(f.what, Text(f.state, colour[f.state]), f.said, f.remedy) for f in findings]
    session.out.print(table(("", "state", "found", "how to get it"), rows))
    missing = [f.what for f in findings if f.state == "missing"]
    if missing:
        print(f"pond: missing here: {', '.join(missing)}.", file=sys.stderr)
        raise typer.Exit(MISSING)
    session.say("Everything that is needed is here.")
