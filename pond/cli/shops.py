"""`pond shop create|list`."""

from typing import Annotated

import typer

from pond.cli.audit import record
from pond.cli.session import session_of

group = typer.Typer(no_args_is_help=True, help="The shops (tenants) of this home.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="shop")


@group.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Small letters, digits and dashes.")],
    timezone: Annotated[str, typer.Option(help="IANA name; times without a zone are read in it.")] = "Asia/Shanghai",
) -> None:
    """Create an empty shop."""
    from features.shop import create_shop

    session = session_of(ctx)
    shop = create_shop(session.home, name, timezone)
    record(session, shop.name, "shop.create", {"timezone": shop.timezone})
    session.say(f"Created shop {shop.name} ({shop.timezone}) in {shop.root}")


@group.command("list")
def list_(ctx: typer.Context) -> None:
    """Show every shop: name, time zone, the release that serves."""
    from features.shop import list_shops
    from models.release_store import DirectoryStore
    from pond.cli.tables import table

    session = session_of(ctx)
    shops = list_shops(session.home)
    if not shops:
        session.say(f"No shop in {session.home} yet: pond shop create NAME")
        return
    rows = [(s.name, s.timezone, DirectoryStore(s.releases_dir).current_id() or "none", str(s.root)) for s in shops]
    session.out.print(table(("shop", "time zone", "release", "directory"), rows))
