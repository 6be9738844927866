"""`pond releases`, `pond promote`, `pond rollback`: which set of models serves."""

from typing import Annotated

import typer

from pond.cli.data import ShopName
from pond.cli.session import session_of


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(releases)
    app.command()(promote)
    app.command()(rollback)


def releases(ctx: typer.Context, shop: ShopName) -> None:
    """Show every release of a shop, oldest first, and which one serves."""
    from models.release_store import DirectoryStore
    from pond.cli.tables import moment, table

    session = session_of(ctx)
    store = DirectoryStore(session.shop(shop).releases_dir)
    found, current = store.list(), store.current_id()
    if not found:
        session.say(f"No release of {shop} yet: pond train --shop {shop}")
        return
    rows = [
        (
            "serves" if m.release_id == current else "", m.release_id, moment(m.created_at), moment(m.as_of),
            f"{m.counts.get('products', 0):,}", f"{m.counts.get('customers', 0):,}",
            ", ".join(f"{gate}: {said}" for gate, said in m.gates.items()),
        )
        for m in found
    ]  # fmt: skip
    head = ("", "release", "made (UTC)", "knows until (UTC)", "products", "customers", "gates")
    session.out.print(table(head, rows, right=("products", "customers")))


def promote(ctx: typer.Context, release: Annotated[str, typer.Argument(help="Its id.")], shop: ShopName) -> None:
    """Let a release serve; a running service takes it up without restart."""
    from models.release_store import DirectoryStore

    session = session_of(ctx)
    DirectoryStore(session.shop(shop).releases_dir).promote(release)
    session.say(f"{release} serves {shop} now.")


def rollback(ctx: typer.Context, shop: ShopName) -> None:
    """Let the release that served before serve again."""
    from models.release_store import DirectoryStore

    session = session_of(ctx)
    back = DirectoryStore(session.shop(shop).releases_dir).rollback()
    session.say(f"{back} serves {shop} again.")
