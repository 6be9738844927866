"""Counting baselines, each in its own process: `python -m benchmarks.quality.baselines NAME FOLDER OUT --k 20`.

Each reads FOLDER/events.parquet and FOLDER/customers.csv, the files that Pond is given (so popularity counts the last
baskets of train customers too, which the published figures leave out), and writes {customer: [item, …]}.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

Lists = dict[str, list[int]]


def read_baskets(folder: Path) -> pl.DataFrame:
    """Return distinct (customer_id, order_id, item_id: a number, row: earlier is smaller)."""
    events = pl.read_parquet(folder / "events.parquet", columns=["customer_id", "order_id", "item_id"])
    typed = events.with_columns(pl.col("customer_id").cast(pl.String), pl.col("item_id").cast(pl.Int64))
    return typed.unique(maintain_order=True).with_row_index("row")


def read_asked(folder: Path) -> list[str]:
    """Return whom to answer."""
    return pl.read_csv(folder / "customers.csv", infer_schema=False)["customer_id"].to_list()


def rank_items(baskets: pl.DataFrame) -> list[int]:
    """Return all items, in most baskets first, ties by number."""
    return baskets.group_by("item_id").len().sort("len", "item_id", descending=[True, False])["item_id"].to_list()


def popularity(baskets: pl.DataFrame, asked: list[str], k: int) -> Lists:
    """Give everybody the items of most baskets."""
    return dict.fromkeys(asked, rank_items(baskets)[:k])


def new_popularity(baskets: pl.DataFrame, asked: list[str], k: int) -> Lists:
    """Give everybody the items of most baskets that they do not have."""
    ranked, had = rank_items(baskets), _own_items(baskets)
    lists = {}
    for who in asked:
        own = set(had.get(who, ()))
        lists[who] = [item for item in ranked[: k + len(own)] if item not in own][:k]
    return lists


def frequency(baskets: pl.DataFrame, asked: list[str], k: int) -> Lists:
    """Rank the own items by baskets, ties by first purchase, nothing filled: personal frequency as published."""
    had = _own_items(baskets)
    return {who: had.get(who, [])[:k] for who in asked}


def honest_frequency(baskets: pl.DataFrame, asked: list[str], k: int) -> Lists:
    """Rank the own items by baskets, ties by popularity, short lists filled with popularity."""
    ranked = rank_items(baskets)
    place = pl.DataFrame({"item_id": ranked, "place": range(len(ranked))})
    counted = baskets.group_by("customer_id", "item_id").len().join(place, on="item_id")
    ordered = counted.sort("customer_id", "len", "place", descending=[False, True, False])
    had = dict(ordered.group_by("customer_id", maintain_order=True).agg("item_id").iter_rows())
    lists = {}
    for who in asked:
        own = had.get(who, [])[:k]
        more = [item for item in ranked[: k + len(own)] if item not in set(own)]
        lists[who] = (own + more)[:k]
    return lists


def _own_items(baskets: pl.DataFrame) -> Lists:
    """Return each customer's items, in most of the own baskets first, ties by first purchase."""
    counted = baskets.group_by("customer_id", "item_id").agg(n=pl.len(), first=pl.col("row").min())
    ordered = counted.sort("customer_id", "n", "first", descending=[False, True, False])
    return dict(ordered.group_by("customer_id", maintain_order=True).agg("item_id").iter_rows())


BASELINES: dict[str, Callable[[pl.DataFrame, list[str], int], Lists]] = {
    "popularity": popularity,
    "new_popularity": new_popularity,
    "frequency": frequency,
    "honest_frequency": honest_frequency,
}


def main() -> None:
    """Answer the customers of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(BASELINES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--k", type=int, default=20)
    asked = parser.parse_args()
    lists = BASELINES[asked.name](read_baskets(asked.folder), read_asked(asked.folder), asked.k)
    asked.out.write_text(json.dumps(lists), "utf-8")


if __name__ == "__main__":
    main()
