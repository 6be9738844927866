"""`pond keys create|list|revoke`: who may call the service."""

from typing import Annotated

import typer

from pond.cli.audit import opened_control
from pond.cli.data import ShopName
from pond.cli.session import Session, session_of

group = typer.Typer(no_args_is_help=True, help="API keys of a shop.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="keys")


@group.command()
def create(
    ctx: typer.Context,
    shop: ShopName,
    role: Annotated[str, typer.Option(help="backend, operator or admin.")] = "backend",
    rate: Annotated[float | None, typer.Option(help="Most requests a second; default: no limit.")] = None,
) -> None:
    """Make a key and print it, the only time it is seen."""
    session = session_of(ctx)
    session.say(created_key(session, shop, role, rate))
    session.remark("Keep it now: only its hash is stored.")


def created_key(session: Session, shop: str, role: str, rate: float | None = None) -> str:
    """Make a key of an existing shop and return it whole."""
    from features.errors import UsageError
    from service.control import Role

    if role not in set(Role):
        raise UsageError(f"There is no role '{role}'; use {', '.join(Role)}.")
    name = session.shop(shop).name
    with opened_control(session) as control:
        return control.create_key(name, Role(role), rate=rate)


@group.command("list")
def list_(ctx: typer.Context, shop: ShopName) -> None:
    """Show a shop's keys without their secrets."""
    from pond.cli.tables import moment, table

    session = session_of(ctx)
    name = session.shop(shop).name
    with opened_control(session) as control:
        keys = control.list_keys(name)
    rows = [
        (key.id, key.role, "" if key.rate is None else f"{key.rate:g}", moment(key.created_at), moment(key.revoked_at))
        for key in keys
    ]
    session.out.print(table(("key", "role", "most a second", "made (UTC)", "revoked (UTC)"), rows))


@group.command()
def revoke(
    ctx: typer.Context, key: Annotated[str, typer.Argument(help="Its id (not the secret).")], shop: ShopName
) -> None:
    """End a key for good; the next request with it is refused."""
    session = session_of(ctx)
    name = session.shop(shop).name
    with opened_control(session) as control:
        is_new = control.revoke_key(name, key)
    session.say(f"{key} is revoked." if is_new else f"{key} was revoked before; nothing was changed.")
