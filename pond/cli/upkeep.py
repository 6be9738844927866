"""`pond rebuild-live | backup | restore | upgrade`: keeping a home, losing it, moving it, growing old with it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pond.cli.session import Session, session_of

if TYPE_CHECKING:
    from service.settings import ServiceSettings

SomeShop = Annotated[str | None, typer.Option(help="Only this shop; default all.")]
SIZES = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("rebuild-live")(rebuild_live)
    app.command()(backup)
    app.command()(restore)
    app.command()(upgrade)


def rebuild_live(ctx: typer.Context, shop: SomeShop = None) -> None:
    """Make the live state again from lake and journal, after the state server lost it; no service may run."""
    from features.shop import list_shops
    from service.upkeep import rebuild_live as rebuild

    session = session_of(ctx)
    shops = [session.shop(shop)] if shop else list_shops(session.home)
    made = rebuild(_settings(session), shops, time.time_ns() // 1_000, _say(session))
    for name, done in made.items():
        session.say(f"{name}: " + ", ".join(f"{n:,} {what}" for what, n in done.counts.items()) + " made again")


def backup(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="A new directory, or a new file ending in .tar.")],
    shop: SomeShop = None,
) -> None:
    """Copy everything under this home that is needed to restore it, while it serves; verified when this ends."""
    from service.backup import back_up

    session = session_of(ctx)
    kept = back_up(_settings(session), out, shop, time.time_ns() // 1_000, _say(session))
    for remark in kept.remarks:
        session.say(remark)
    session.say(f"{kept.out}: {', '.join(kept.shops) or 'no shop'}; {kept.files:,} files, {_size(kept.size)}, verified")


def restore(
    ctx: typer.Context,
    archive: Annotated[Path, typer.Argument(help="What `pond backup` wrote.", metavar="BACKUP")],
) -> None:
    """Make a new home (--home) of a backup, live state included; nothing is visible before every file is verified."""
    from service.backup import restore as restore_home

    session = session_of(ctx)
    shops = restore_home(_settings(session), archive, time.time_ns() // 1_000, _say(session))
    session.say(f"{session.home}: {', '.join(shops) or 'no shop'} restored; start it with `pond serve`")


def upgrade(ctx: typer.Context) -> None:
    """Bring everything under this home to this Pond's formats, and say which they are."""
    from pond.cli.tables import table
    from service.upgrade import upgrade as upgrade_home

    session = session_of(ctx)
    found, changed = upgrade_home(_settings(session), _say(session))
    counts: dict[tuple[str, int, int], int] = {}
    for one in found:
        counts[one.what, one.version, one.current] = counts.get((one.what, one.version, one.current), 0) + 1
    rows = [
        (what, f"{n:,}", str(version), "current" if version == current else f"upgraded to {current}")
        for (what, version, current), n in counts.items()
    ]
    session.out.print(table(("", "how many", "format found", ""), rows))
    session.say(f"{len(changed)} of {len(found)} upgraded." if changed else "Everything has this Pond's formats.")


def _settings(session: Session) -> "ServiceSettings":
    from service.settings import ServiceSettings

    return ServiceSettings.of(session.environ, home=session.home)


def _say(session: Session) -> Callable[[str], Any]:
    """Say each step to whoever watches."""
    return session.remark if session.shows_progress else lambda _: None


def _size(n: int) -> str:
    return next((f"{n / unit:.1f} {name}" for unit, name in SIZES if n >= unit), f"{n} bytes")
