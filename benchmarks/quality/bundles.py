"""Bundles for customers (Youshu) and baskets completed (BundleRec, Complete Journey), through the command line.

    python -m benchmarks.quality.bundles [--only youshu|electronic|clothing|journey] [--work DIR]

Youshu's open part has a tune split only: that is what is scored, and nothing of it is learned from. Of the Complete
Journey the last three weeks are taken off; one product of each of 2,000 of their baskets is hidden. Pond runs with the
project's defaults and is trained once for each. Adds rows to benchmarks/results/quality-test.*.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.quality.measure import Run, run, shared
from benchmarks.quality.recommendation import script
from benchmarks.quality.table import Row, record
from features.history import DAY_US
from pond.demo.journey import TIMEZONE, write_journey

SPLIT = "test"
K = 20
DRAWS = 2000
JOURNEY_DAYS = 21
JOURNEY_ASKED = 2000
Lists = Mapping[str, Sequence[str]]
Figures = Mapping[str, np.ndarray]


def pond(work: Path, *words: str) -> Run:
    """Call the command line with its own home."""
    return run([sys.executable, "-m", "pond.cli.main", *words, "--home", str(work / "home")], work / f"{words[0]}.log")


def answer(
    work: Path, scene: str, files: Mapping[str, Path], asked: Path, zone: str, as_of: int | None = None
) -> tuple[Lists, dict[str, Run]]:
    """Ingest, train and answer; return the lists by question and what each step cost."""
    pond(work, "shop", "create", "shop", "--timezone", zone)
    words = [word for table, path in files.items() for word in (f"--{table}", str(path))]
    steps = {"ingest": pond(work, "ingest", "--shop", "shop", *words)}
    until = [] if as_of is None else ["--as-of", str(as_of)]
    steps["train"] = pond(work, "train", "--shop", "shop", *until)
    out = work / "out.parquet"
    words = ["--scene", scene, "--customers", str(asked), "--k", str(K), "--out", str(out)]
    steps["answer"] = pond(work, "recommend", "--shop", "shop", *words)
    script("to_events", "preds", str(out), str(work / "out.json"))
    found = json.loads((work / "out.json").read_text("utf-8"))
    return {name: [str(item) for item in shown] for name, shown in found.items()}, steps


def write_rows(data: str, scored: Mapping[str, Figures], honest: str, steps: dict[str, Run], only: str) -> None:
    """Record every system, Pond with paired intervals of its differences to the honest baseline."""
    command = f"python -m benchmarks.quality.bundles --only {only}"
    for name, figures in scored.items():
        means = {metric: float(values.mean()) for metric, values in figures.items()}
        is_pond = name == "pond"
        against = {"system": honest} | intervals(figures, scored[honest]) if is_pond else {}
        settings = "project defaults" if is_pond else "nothing to set"
        record(SPLIT, Row(data, 0, name, settings, means, steps if is_pond else {}, command, against=against))
        print(data, name, means, against, flush=True)


def intervals(one: Figures, other: Figures) -> dict[str, list[float]]:
    """Return mean differences and their 95 % intervals over questions drawn anew: [difference, low, high]."""
    found = {}
    for name in one:
        difference, rng = one[name] - other[name], np.random.default_rng(0)
        drawn = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(DRAWS)]
        low, high = np.quantile(drawn, (0.025, 0.975))
        found[name] = [round(float(x), 5) for x in (difference.mean(), low, high)]
    return found


def ranked_figures(lists: Lists, wanted: Mapping[str, set[str]]) -> Figures:
    """Return recall and NDCG at 20, one value for each customer in order."""
    discount = 1 / np.log2(np.arange(2, K + 2))
    rows = []
    for name, truth in wanted.items():
        hits = np.array([item in truth for item in lists[name][:K]])
        rows.append((hits.sum() / len(truth), discount[: len(hits)][hits].sum() / discount[: len(truth)].sum()))
    return dict(zip((f"recall@{K}", f"ndcg@{K}"), np.array(rows).T, strict=True))


def hit_figures(lists: Lists, wanted: Mapping[str, str]) -> Figures:
    """Return hit rate at ten and twenty, one value for each question in order."""
    places = [list(lists.get(name, ())).index(one) if one in lists.get(name, ()) else K for name, one in wanted.items()]
    return {f"hit_rate@{k}": np.array([float(place < k) for place in places]) for k in (10, K)}


def youshu(work: Path) -> None:
    """Measure which bundle for which customer."""
    source = shared() / "data" / "youshu"
    script("to_events", "bundles", str(source), str(work))
    files = {table: work / f"{table}.parquet" for table in ("events", "products", "bundles")}
    lists, steps = answer(work, "bundles", files, work / "customers.csv", "Asia/Shanghai")
    known, tune = (np.loadtxt(source / f"user_bundle_{part}.txt", dtype=np.int64) for part in ("train", "tune"))
    wanted: dict[str, set[str]] = {}
    for customer, bundle in tune.tolist():
        wanted.setdefault(str(customer), set()).add(str(bundle))
    systems = {name: _masked(order, known, wanted) for name, order in _orders(known, int(max(known.max(), tune.max())))}
    scored = {name: ranked_figures(shown, wanted) for name, shown in {**systems, "pond": lists}.items()}
    told = json.loads(script("bundles", str(source), str(work / "out.json"), "--split", "tune"))
    agree(float(scored["pond"][f"recall@{K}"].mean()), float(told[f"Recall@{K}"]))
    write_rows("youshu, bundles for customers (tune part)", scored, "RP3 (α 1, β 0)", steps, "youshu")


def _orders(known: np.ndarray, most: int) -> list[tuple[str, Callable[[int], np.ndarray]]]:
    """Scores of all bundles for a customer, by popularity and by a walk customer → bundle → customer → bundle."""
    pairs = sp.csr_array(sp.coo_array((np.ones(len(known)), known.T), shape=(most + 1, most + 1)).tocsr())
    by_customer, by_bundle = (np.maximum(np.asarray(pairs.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    arrive = sp.csr_array(sp.diags_array(1 / by_customer) @ pairs)
    leave = sp.csr_array(sp.diags_array(1 / by_bundle) @ pairs.T)
    sold = np.asarray(pairs.sum(axis=0)).ravel()
    walk: Callable[[int], np.ndarray] = lambda u: ((pairs[[u]] @ leave) @ arrive).toarray().ravel()  # noqa: E731
    return [("popularity", lambda _: sold), ("RP3 (α 1, β 0)", walk)]


def _masked(order: Callable[[int], np.ndarray], known: np.ndarray, wanted: Mapping[str, set[str]]) -> Lists:
    lists = {}
    for name in wanted:
        score = order(int(name)).astype(float).copy()
        score[known[known[:, 0] == int(name), 1]] = -np.inf
        lists[name] = [str(i) for i in np.argsort(-score, kind="stable")[:K]]
    return lists


def bundlerec(domain: str, work: Path) -> None:
    """Measure whether the product hidden from a bundle is found."""
    script("completion", "split", str(shared() / "data" / "bundlerec" / domain), str(work))
    script("to_events", "completion", str(work), str(work / "files"))
    files = {table: work / "files" / f"{table}.parquet" for table in ("events", "products", "bundles")}
    lists, steps = answer(work, "cart", files, work / "files" / "customers.parquet", "Asia/Shanghai")
    asked = json.loads((work / "queries.json").read_text("utf-8"))
    wanted = {name: str(one["want"]) for name, one in asked.items()}
    have = {name: [str(item) for item in one["have"]] for name, one in asked.items()}
    systems = {"title TF-IDF": _by_title(work, have), "session co-occurrence": _by_sessions(work, have), "pond": lists}
    scored = {name: hit_figures(shown, wanted) for name, shown in systems.items()}
    told = json.loads(script("completion", "score", str(work), str(work / "out.json")))
    agree(float(scored["pond"]["hit_rate@10"].mean()), float(told["HR@10"]))
    write_rows(f"bundlerec {domain}, a bundle completed", scored, "title TF-IDF", steps, domain)


def _by_title(work: Path, have: Lists) -> Lists:
    products = pl.read_csv(work / "products.csv", infer_schema=False).fill_null("")
    ids = products["product_id"].to_list()
    row = {name: number for number, name in enumerate(ids)}
    read = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, stop_words="english")
    words = sp.csr_array(read.fit_transform(products["title"].to_list()))
    lists = {}
    for name, parts in have.items():
        score = np.asarray(words[[row[part] for part in parts]].sum(axis=0) @ words.T).ravel()
        best = [ids[i] for i in np.argsort(-score)[: K + len(parts)]]
        lists[name] = [item for item in best if item not in parts][:K]
    return lists


def _by_sessions(work: Path, have: Lists) -> Lists:
    lines = pl.read_csv(work / "sessions.csv", infer_schema=False)
    lines.columns = ["session", "item"]
    return _by_counts([part["item"].to_list() for part in lines.partition_by("session", maintain_order=True)], have)


def _by_counts(together: Sequence[Sequence[str]], have: Lists) -> Lists:
    """Answer with what was together with the most of a basket most often, ties by id."""
    count: dict[str, dict[str, int]] = {}
    for held in together:
        for one in set(held):
            row = count.setdefault(one, {})
            for other in set(held) - {one}:
                row[other] = row.get(other, 0) + 1
    lists = {}
    for name, parts in have.items():
        total: dict[str, int] = {}
        for part in parts:
            for other, n in count.get(part, {}).items():
                total[other] = total.get(other, 0) + n
        best = sorted((item for item in total if item not in parts), key=lambda item: (-total[item], item))
        lists[name] = best[:K]
    return lists


def journey(work: Path) -> None:
    """Measure whether the product hidden from a later basket is found in a shop with many baskets."""
    made = write_journey(work / "source", datetime(2018, 1, 2, tzinfo=UTC))
    lines = pl.read_parquet(made.events)
    as_of = int(lines["at"].max()) + 1 - JOURNEY_DAYS * DAY_US  # type: ignore[arg-type,operator]
    earlier, later = (lines.filter(keep) for keep in (pl.col("at") < as_of, pl.col("at") >= as_of))
    baskets = _baskets(later).filter(pl.col("items").list.len() >= 2)
    rng = np.random.default_rng(0)
    chosen = baskets[np.sort(rng.choice(len(baskets), min(JOURNEY_ASKED, len(baskets)), replace=False)).tolist()]
    hidden = [str(rng.choice(items.to_list())) for items in chosen["items"]]
    have = {
        f"q{n}": [item for item in items.to_list() if item != gone]
        for n, (items, gone) in enumerate(zip(chosen["items"], hidden, strict=True))
    }
    wanted = {f"q{n}": gone for n, gone in enumerate(hidden)}
    asked = pl.DataFrame({"query_id": list(have), "customer_id": chosen["customer_id"], "at": chosen["at"],
                          "basket": list(have.values())})  # fmt: skip
    asked.write_parquet(work / "asked.parquet")
    lists, steps = answer(work, "cart", dict(made.tables), work / "asked.parquet", TIMEZONE, as_of)
    systems = {"popularity": _by_popularity(earlier, have), "own frequency, then popularity": _by_habit(lines, asked),
               "co-purchase counts": _by_counts(_baskets(earlier)["items"].to_list(), have), "pond": lists}  # fmt: skip
    scored = {name: hit_figures(shown, wanted) for name, shown in systems.items()}
    write_rows("complete journey, a later basket completed", scored, "own frequency, then popularity", steps, "journey")


def _baskets(lines: pl.DataFrame) -> pl.DataFrame:
    return (
        lines.group_by("order_id", maintain_order=True)
        .agg(pl.col("customer_id").first(), pl.col("at").min(), items=pl.col("item_id").unique().sort())
        .sort("at", "order_id")
    )


def _by_popularity(earlier: pl.DataFrame, have: Lists) -> Lists:
    best = _most_sold(earlier)
    return {name: [item for item in best[: K + len(parts)] if item not in parts][:K] for name, parts in have.items()}


def _most_sold(lines: pl.DataFrame) -> list[str]:
    sold = (
        lines.group_by("item_id")
        .agg(pl.col("order_id").n_unique().alias("n"))
        .sort("n", "item_id", descending=[True, False])
    )
    return sold["item_id"].to_list()


def _by_habit(lines: pl.DataFrame, asked: pl.DataFrame) -> Lists:
    """Answer with what the customer bought most often before the visit, then with what sells most."""
    popular = _most_sold(lines.filter(pl.col("at") < asked["at"].min()))[:200]
    rank = {item: place for place, item in enumerate(popular)}
    own = {name: part for (name,), part in lines.partition_by("customer_id", as_dict=True).items()}
    lists = {}
    for query, who, at, basket in asked.iter_rows():
        before = own[who].filter(pl.col("at") < at)
        count = before.group_by("item_id").agg(pl.col("order_id").n_unique().alias("n"))
        mine = sorted(count.iter_rows(), key=lambda row: (-row[1], rank.get(row[0], len(popular)), row[0]))
        order = dict.fromkeys([*(item for item, _ in mine), *popular])
        lists[query] = [item for item in order if item not in basket][:K]
    return lists


def agree(mine: float, told: float) -> None:
    """Stop where the shared scorer says otherwise than these figures."""
    if abs(mine - told) > 1e-4:
        raise SystemExit(f"the scorer says {told}, these figures {mine:.5f}.")


PARTS: Mapping[str, Callable[[Path], None]] = {
    "youshu": youshu, "electronic": lambda work: bundlerec("electronic", work),
    "clothing": lambda work: bundlerec("clothing", work), "journey": journey,
}  # fmt: skip


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), help="one part")
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in [asked.only] if asked.only else PARTS:
            work = (asked.work or Path(temporary)).absolute() / f"bundles-{name}"
            work.mkdir(parents=True, exist_ok=True)
            PARTS[name](work)


if __name__ == "__main__":
    main()
