"""Peers from PyPI in a process of their own: `python -m benchmarks.quality.peers SETTINGS FOLDER OUT [--new]`.

SETTINGS is JSON: {"model": a key of MODELS, …arguments of the library's model}. Reads what Pond is given
(FOLDER/events.parquet, customers.csv); a cell of the matrix is the number of baskets with the item. `--new` leaves out
what a customer has; else repeats are allowed, as a next basket needs. This file also runs under the pins of peers.txt,
where RecTools lives, so it imports only what both environments have; a library is imported when it is asked for.
"""

import argparse
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

K = 20
MODELS = {
    "als": "implicit.als.AlternatingLeastSquares",
    "bm25": "implicit.nearest_neighbours.BM25Recommender",
    "cosine": "implicit.nearest_neighbours.CosineRecommender",
    "rectools_popular": "rectools.models.PopularModel",
    "rectools_ease": "rectools.models.EASEModel",
    "rectools_pure_svd": "rectools.models.PureSVDModel",
}
SEEDED = ("als", "rectools_pure_svd")


def read_counts(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return (customer_id, item_id, weight: baskets) and whom to answer."""
    # Polars, because no pyarrow in reach works with the numpy that RecTools is held to.
    lines = pl.read_parquet(folder / "events.parquet", columns=["customer_id", "order_id", "item_id"]).unique()
    named = {name: lines[name].cast(pl.String).to_list() for name in ("customer_id", "item_id")}
    events = pd.DataFrame(named).astype({"item_id": "int64"})
    counts = events.groupby(["customer_id", "item_id"], sort=True).size().rename("weight").reset_index()
    return counts, pd.read_csv(folder / "customers.csv", dtype={"customer_id": str})["customer_id"].tolist()


def make_model(settings: Mapping[str, Any]) -> Any:
    """Make the library's model, seeded where it draws."""
    given = dict(settings)
    name = given.pop("model")
    module, _, kind = MODELS[name].rpartition(".")
    if name in SEEDED:
        given["random_state"] = 0
    return getattr(importlib.import_module(module), kind)(**given)


def implicit_lists(
    settings: Mapping[str, Any], counts: pd.DataFrame, asked: list[str], *, new: bool
) -> dict[str, list[int]]:
    """Fit a model of `implicit` and answer; who has no history gets nothing."""
    customers, items = pd.Index(counts.customer_id.unique()), pd.Index(np.sort(counts.item_id.unique()))
    cells = (customers.get_indexer(counts.customer_id), items.get_indexer(counts.item_id))
    matrix = sp.csr_matrix((counts.weight.to_numpy(np.float32), cells), shape=(len(customers), len(items)))
    model = make_model(settings)
    model.fit(matrix, show_progress=False)
    rows = customers.get_indexer(asked)
    known = rows[rows >= 0]
    found, score = model.recommend(known, matrix[known], N=K, filter_already_liked_items=new)
    numbers = items.to_numpy()
    # Neighbours pad short lists with scores of nothing.
    lists = [
        [int(numbers[i]) for i, s in zip(*row, strict=True) if i >= 0 and s > 0]
        for row in zip(found, score, strict=True)
    ]
    return dict(zip((str(customers[row]) for row in known), lists, strict=True))


def rectools_lists(
    settings: Mapping[str, Any], counts: pd.DataFrame, asked: list[str], *, new: bool
) -> dict[str, list[int]]:
    """Fit a model of RecTools and answer."""
    dataset_of = importlib.import_module("rectools.dataset").Dataset
    names = {"customer_id": "user_id"}
    frame = counts.rename(columns=names).assign(datetime=pd.Timestamp("2026-01-01"))
    dataset = dataset_of.construct(frame)
    model = make_model(settings)
    model.fit(dataset)
    known = [who for who in asked if who in set(frame.user_id)]
    answers = model.recommend(known, dataset, k=K, filter_viewed=new)
    grouped = answers.sort_values(["user_id", "rank"]).groupby("user_id", sort=False).item_id
    return {str(who): [int(i) for i in items] for who, items in grouped}


def main() -> None:
    """Fit, answer, write {customer: [item, …]}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--new", action="store_true", help="only items that the customer does not have")
    asked = parser.parse_args()
    counts, customers = read_counts(asked.folder)
    answer = rectools_lists if asked.settings["model"].startswith("rectools") else implicit_lists
    # implicit threads its own loops and asks for one BLAS thread; RecTools works in BLAS alone.
    with threadpool_limits(1 if answer is implicit_lists else None, "blas"):
        lists = answer(asked.settings, counts, customers, new=asked.new)
    asked.out.write_text(json.dumps(lists), "utf-8")


if __name__ == "__main__":
    main()
