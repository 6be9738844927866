"""`pond bundles`: the batch form of `POST /v1/bundles`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pond.cli.data import ShopName
from pond.cli.session import session_of

if TYPE_CHECKING:
    from models.bundles.wishes import BundleWishes


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(bundles)


def bundles(
    ctx: typer.Context,
    shop: ShopName,
    out: Annotated[Path, typer.Option(help="Where to: .parquet, .csv or .jsonl.")],
    customers: Annotated[
        str | None,
        typer.Option(help="all, or a file: one customer_id a line, or CSV or Parquet (query_id, at, basket); "
                          "default: nobody in particular."),
    ] = None,
    around: Annotated[list[str] | None, typer.Option(help="A product of every bundle; may be repeated.")] = None,
    theme: Annotated[str, typer.Option(help="A theme, a category, or words of products.")] = "",
    k: Annotated[int, typer.Option("--k", help="Bundles for each customer.")] = 5,
    size_min: Annotated[int | None, typer.Option(min=1, max=5, help="Least number of parts.")] = None,
    size_max: Annotated[int | None, typer.Option(min=1, max=5, help="Greatest number of parts.")] = None,
    target_price: Annotated[float | None, typer.Option(min=0.01, help="Most that a bundle costs.")] = None,
    spend_threshold: Annotated[
        float | None, typer.Option(min=0.01, help="Least that a bundle costs with the basket; near is better.")
    ] = None,
    discount: Annotated[float | None, typer.Option(min=0, max=0.99, help="Share off where no price is set.")] = None,
    margin_floor: Annotated[float | None, typer.Option(help="Least share of the price above the costs.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A product or bundle never shown; may be repeated.")] = None,
    as_of: Annotated[str | None, typer.Option(help="The moment of the question; default: the release's.")] = None,
    release: Annotated[str | None, typer.Option(help="Default: the one that serves.")] = None,
) -> None:  # fmt: skip
    """Put bundles together for customers, around products or a theme, beside the shop's own."""
    import polars as pl

    from features.lake import Lake
    from models.bundles.wishes import BundleWishes
    from models.release_store import DirectoryStore
    from pond.cli.moments import read_moment
    from pond.cli.progress import report
    from pond.cli.rules import rules_of
    from pond.cli.train import say_answers, wanted_release
    from training.batch import CustomerRow, read_customers, recommend_batch, write_recommendations
    from training.settings import merge_settings

    wishes = BundleWishes(
        tuple(around or ()), theme, tuple(exclude or ()), size_min, size_max, target_price, spend_threshold, discount,
        margin_floor, generated="blend",
    )  # fmt: skip
    _check(wishes)
    session = session_of(ctx)
    opened = session.shop(shop)
    store = DirectoryStore(opened.releases_dir)
    models = store.load(wanted_release(shop, release or store.current_id())).models
    rows = read_customers(customers, models) if customers is not None else [CustomerRow("")]
    answers = recommend_batch(
        models, rows, "bundles", k, as_of=read_moment(as_of, opened.timezone) if as_of else None,
        lake=Lake(opened.lake_dir), low_stock=opened.low_stock, progress=report(session), bundle=wishes,
        rules=rules_of(session, opened.name),
        workers=merge_settings(opened, session.environ).training.workers,
    )  # fmt: skip
    nobody = pl.when(pl.col("customer_id") != "").then("customer_id")
    write_recommendations(answers.frame.with_columns(customer_id=nobody), out)
    say_answers(session, answers, len(rows), out)


def _check(wishes: "BundleWishes") -> None:
    from features.errors import UsageError
    from models.bundles.wishes import MOST_PARTS

    if wishes.theme and wishes.item_ids:
        raise UsageError("--around and --theme ask for two different things; give one of them.")
    if (wishes.size_min or 1) > (wishes.size_max or MOST_PARTS):
        raise UsageError(f"--size-min {wishes.size_min} is above --size-max {wishes.size_max}; swap them.")
    if len(wishes.item_ids) > (wishes.size_max or MOST_PARTS - 1):
        raise UsageError(f"--around names {len(wishes.item_ids)} products, more than a bundle has places for.")
    if wishes.margin_floor is not None and wishes.margin_floor > 1:
        raise UsageError(f"--margin-floor {wishes.margin_floor} can be kept by nothing; give a share such as 0.2.")
