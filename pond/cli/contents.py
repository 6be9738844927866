"""`pond content`: articles, videos, live streams and podcasts for many customers at once."""

from pathlib import Path
from typing import Annotated

import typer

from pond.cli.data import ShopName
from pond.cli.train import answer_batch


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(content)


def content(
    ctx: typer.Context,
    shop: ShopName,
    customers: Annotated[
        str, typer.Option(help="all, or a file: one customer_id a line, or CSV or Parquet (query_id, at).")
    ],
    out: Annotated[Path, typer.Option(help="Where to: .parquet, .csv or .jsonl.")],
    k: Annotated[int, typer.Option("--k", help="Contents for each customer.")] = 10,
    as_of: Annotated[str | None, typer.Option(help="The moment of the question; default: the release's.")] = None,
    release: Annotated[str | None, typer.Option(help="Default: the one that serves.")] = None,
) -> None:
    """Choose contents for many customers: fresh ones that fit them, never what they have read.

    A row is answered from what anybody had read before its moment.
    """
    answer_batch(ctx, shop, "content", customers, out, k=k, as_of=as_of, release=release)
