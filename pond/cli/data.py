"""`pond ingest` and `pond check`: files in, and is what came in sound?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pond.cli.session import Session, session_of

if TYPE_CHECKING:
    from features.ingest import IngestReport, TableMapping
    from features.shop import Shop

ShopName = Annotated[str, typer.Option("--shop", help="Name of the shop.")]
Files = Annotated[list[Path] | None, typer.Option(help="CSV, JSONL (plain or .gz) or Parquet; may be repeated.")]
SHOWN_REASONS: Final = 5


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(ingest)
    app.command()(check)


def ingest(
    ctx: typer.Context,
    shop: ShopName,
    events: Files = None,
    products: Files = None,
    contents: Files = None,
    bundles: Files = None,
    customers: Files = None,
    identities: Files = None,
    consents: Files = None,
    campaigns: Files = None,
    map_: Annotated[Path | None, typer.Option("--map", help="TOML: which column of the files is which.")] = None,
) -> None:
    """Read files into the shop's lake; what cannot be read is kept apart with line and reason."""
    from features.errors import UsageError
    from features.ingest import load_mapping

    session = session_of(ctx)
    given = {
        "products": products, "contents": contents, "bundles": bundles, "customers": customers,
        "identities": identities, "consents": consents, "campaigns": campaigns, "events": events,
    }  # fmt: skip
    files = [(name, path) for name, paths in given.items() for path in paths or ()]
    if not files:
        raise UsageError(f"Say which files to read, for example `pond ingest --shop {shop} --events events.csv`.")
    for _, path in files:
        if not path.is_file():
            what = "is a directory, not a file" if path.is_dir() else "does not exist"
            raise UsageError(f"{path} {what}; nothing was read.")
    opened = session.shop(shop)
    ingest_files(session, opened, files, load_mapping(map_) if map_ else {})
    if consents or identities or customers:
        tell_live_state(session, opened)


def tell_live_state(session: Session, shop: "Shop") -> None:
    """Let what files said of customers hold on the very next request, and have what merges decided in the lake."""
    from service.from_lake import tell_from_files
    from service.settings import ServiceSettings

    done = tell_from_files(ServiceSettings.of(session.environ, home=session.home), shop)
    for name, number in done.changed.items():
        if number:
            session.remark(f"  {number:,} {name} hold from the next request on")
    for reason, count in done.reasons.items():
        session.err.print(f"  {count:,} identities were not taken up: {reason}", markup=False, soft_wrap=True)


def ingest_files(
    session: Session, shop: "Shop", files: Sequence[tuple[str, Path]], mappings: "dict[str, TableMapping]"
) -> "list[IngestReport]":
    """Read (table, file) pairs in order and say what became of each; files before a failing one stay read."""
    from features.ingest import ingest_file
    from pond.cli.progress import reading
    from pond.cli.tables import table

    reports = []
    for name, path in files:
        with reading(session, f"read {path.name}") as progress:
            made = ingest_file(shop, name, path, mappings.get(name), progress)
        reports.append(made)
        numbers = (made.accepted, made.duplicates, made.rejected)
        head = ("file", "table", "accepted", "known already", "rejected")
        row = (path.name, name, *(f"{n:,}" for n in numbers))
        session.out.print(table(head, [row], right=head[2:]))
        for note in made.notes:
            session.remark(f"  {note}")
        if made.erased:
            session.remark(f"  erased: {made.erased:,} (rows of customers who were erased on request were left out)")
        if made.rejects_file:
            _show_rejects(session, made)
    return reports


def _show_rejects(session: Session, made: "IngestReport") -> None:
    shown = list(made.reasons.items())[:SHOWN_REASONS]
    for reason, count in shown:
        session.err.print(f"  {count:,} × {reason}", markup=False, soft_wrap=True)
    if others := made.rejected - sum(count for _, count in shown):
        session.err.print(f"  {others:,} × other reasons", markup=False, soft_wrap=True)
    session.err.print(f"  Rejected rows with line and reason: {made.rejects_file}", markup=False, soft_wrap=True)


def check(ctx: typer.Context, shop: ShopName) -> None:
    """Check the shop's data: order, duplicates, gaps, unknown ids, prices, sudden changes of volume …"""
    from features.checks import run_checks
    from features.errors import ChecksFailed
    from features.lake import Lake
    from pond.cli.tables import table

    session = session_of(ctx)
    opened = session.shop(shop)
    found = run_checks(Lake(opened.lake_dir), opened)
    rows = [(f.name, f.status, f"{f.count:,}", f.sentence, ", ".join(f.examples)) for f in found]
    session.out.print(table(("check", "", "count", "found", "for example"), rows, right=("count",)))
    failed = [f.name for f in found if f.status == "FAIL"]
    if failed:
        raise ChecksFailed(shop, "", f"these checks failed: {', '.join(failed)}; the table says why.")
