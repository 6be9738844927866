"""`pond audit`: who did what to a shop; and how the other commands add to it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pond.cli.data import ShopName
from pond.cli.session import Session, session_of

if TYPE_CHECKING:
    from service.control import ControlPlane

ACTOR: Final = "cli"


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(audit)


def audit(
    ctx: typer.Context,
    shop: ShopName,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The latest so many.")] = 100,
) -> None:
    """Show who did what to a shop, newest first: keys, releases and whatever else an administrator does."""
    from pond.cli.tables import moment, table

    session = session_of(ctx)
    name = session.shop(shop).name
    with opened_control(session) as control:
        found = control.audit(name, limit)
    rows = [(moment(row.at), row.actor, row.action, json.dumps(dict(row.details), ensure_ascii=False)) for row in found]
    session.out.print(table(("when (UTC)", "who", "what", "details"), rows))


@contextmanager
def opened_control(session: Session) -> "Iterator[ControlPlane]":
    """Open the control plane of this home for the time of a command."""
    from service.control import ControlPlane
    from service.settings import ServiceSettings

    control = ControlPlane.open(ServiceSettings.of(session.environ, home=session.home))
    try:
        yield control
    finally:
        control.close()


def record(session: Session, shop: str, action: str, details: Mapping[str, Any]) -> None:
    """Add to the audit trail what a command has done; `details` name things, no secrets and no personal data."""
    with opened_control(session) as control:
        control.record(ACTOR, shop, action, details)
