"""Cold start on the Complete Journey, through the command line: products never sold, customers never seen.

    python -m benchmarks.quality.cold_start [--only products|customers] [--split test|val] [--work DIR]

Products: half (seeded) of the products first sold in the three months before T lose all their purchases but stay in the
catalogue with name, category, brand, price and the day they came; everything else is hidden from lists. Truth: what a
household bought of them in the two months after T. Customers: a quarter (seeded) of the households with known
attributes lose all their events before T; truth: their first basket after T. T is 1 September for `val`, 1 November for
`test`; households of the two parts differ. Adds rows to benchmarks/results/quality-<split>.*.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.quality.measure import Run, run
from benchmarks.quality.scores import Lists, customer_scores, paired_intervals
from benchmarks.quality.table import Row, record
from pond.demo.journey import TIMEZONE, write_journey

MOMENTS = {"val": datetime(2017, 9, 1, tzinfo=UTC), "test": datetime(2017, 11, 1, tzinfo=UTC)}
BEFORE, AFTER = timedelta(days=92), timedelta(days=61)
DAY_US = 86_400_000_000
SEEDS = {"val": 1, "test": 2}
K = 10
SETTINGS = """
[scenes.cold_content]
sources = { content_based = 1.0 }
fallback = ["newest"]
candidates = 5000
[scenes.cold_hybrid]
sources = { hybrid = 1.0 }
fallback = ["newest"]
candidates = 5000
[scenes.cold_both]
sources = { content_based = 1.0, hybrid = 1.0 }
fallback = ["newest"]
candidates = 5000
[scenes.cold_kinds]
sources = { own_kinds = 1.0 }
fallback = ["newest"]
candidates = 5000
[scenes.cold_newest]
sources = { newest = 1.0 }
fallback = []
candidates = 5000
"""
STRANGERS = """
[scenes.strangers_hybrid]
sources = { hybrid = 1.0 }
[scenes.strangers_blend]
sources = { popular = 1.0, hybrid = 0.3 }
"""
# What a shop gets as standard is the first of each; the others say which source does what.
PRODUCT_SCENES = ("new", "cold_content", "cold_hybrid", "cold_both", "cold_kinds", "cold_newest", "home", "discover")
CUSTOMER_SCENES = ("home", "next_basket", "popular", "strangers_hybrid", "strangers_blend")


@dataclass(frozen=True)
class World:
    """Files of one question: what may be learned from, who is asked, and what came after."""

    events: pl.DataFrame
    products: pl.DataFrame
    customers: pl.DataFrame
    truth: Lists
    candidates: tuple[str, ...]


def read_source(folder: Path) -> World:
    """Return the whole year, nothing held out; only products that were sold at some time are in the catalogue."""
    files = write_journey(folder / "source", datetime(2018, 1, 2, tzinfo=UTC))
    events = pl.read_parquet(files.events)
    products = pl.read_parquet(files.products).join(events, left_on="product_id", right_on="item_id", how="semi")
    return World(events, products, pl.read_parquet(files.customers), {}, ())


def moment_us(split: str) -> int:
    """Return T in UTC µs: midnight in UTC, early evening in the shop, said so to the command line as well."""
    return (MOMENTS[split] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def without_products(source: World, split: str) -> World:
    """Take a seeded half of the late arrivals out of all baskets; nothing but them may be shown."""
    moment = moment_us(split)
    first = source.events.group_by("item_id").agg(pl.col("at").min()).sort("item_id")
    late = first.filter(pl.col("at").is_between(moment - BEFORE // timedelta(microseconds=1), moment, closed="left"))
    drawn = np.random.default_rng(SEEDS[split]).random(len(late)) < 0.5
    held = late.filter(drawn)
    known = source.events.join(held, on="item_id", how="anti").filter(pl.col("at") < moment)
    end = moment + AFTER // timedelta(microseconds=1)
    later = source.events.join(held, on="item_id", how="semi").filter(pl.col("at").is_between(moment, end))
    later = later.join(known, on="customer_id", how="semi")
    came = held.select(product_id="item_id", created_at=pl.col("at") // DAY_US * DAY_US)
    products = source.products.join(came, on="product_id", how="left").with_columns(
        status=pl.when(pl.col("created_at").is_null()).then(pl.lit("hidden")).otherwise(pl.lit("active")),
    )
    return World(known, products, source.customers, truth_of(later), tuple(held["item_id"]))


def without_customers(source: World, split: str) -> World:
    """Take a seeded quarter of the households with attributes out; their first basket after T is the question."""
    moment = moment_us(split)
    quarter = np.random.default_rng(0).permutation(len(source.customers)) % 4
    asked = source.customers.sort("customer_id").filter(quarter == SEEDS[split])
    later = source.events.filter(pl.col("at") >= moment).join(asked, on="customer_id", how="semi")
    first = later.group_by("customer_id").agg(pl.col("at").min())
    basket = later.join(first, on=["customer_id", "at"], how="semi")
    known = source.events.filter(pl.col("at") < moment).join(asked, on="customer_id", how="anti")
    basket = basket.join(known, on="item_id", how="semi")
    return World(known, source.products, source.customers, truth_of(basket), tuple(known["item_id"].unique().sort()))


def truth_of(lines: pl.DataFrame) -> Lists:
    """Return the distinct products of each customer, both in order of id."""
    grouped = lines.select("customer_id", "item_id").unique().sort("customer_id", "item_id")
    return {row[0]: row[1] for row in grouped.group_by("customer_id", maintain_order=True).agg("item_id").iter_rows()}


def product_baselines(world: World) -> dict[str, Lists]:
    """Rank the products never sold by what is known of their like: sales, the household's own taste, age."""
    like = world.products.select("product_id", "category", "brand")
    lines = world.events.join(like, left_on="item_id", right_on="product_id")
    cold = like.filter(pl.col("product_id").is_in(list(world.candidates))).sort("product_id")
    per_product = lines.group_by("item_id", "category", "brand").len()
    by_category = per_product.group_by("category").agg(sold=pl.col("len").mean())
    by_both = per_product.group_by("category", "brand").agg(own=pl.col("len").mean(), n=pl.len())
    rated = cold.join(by_category, on="category", how="left").join(by_both, on=["category", "brand"], how="left")
    sold = pl.col("sold").fill_null(0.0)
    # A brand with few products says little: three products of its category's mean are added.
    expected = (pl.col("own").fill_null(0.0) * pl.col("n").fill_null(0) + 3 * sold) / (pl.col("n").fill_null(0) + 3)
    rated = rated.with_columns(expected=expected).sort("product_id")
    popular = rated.sort("expected", descending=True, maintain_order=True)["product_id"].to_list()
    taste = lines.group_by("customer_id", "category").len("in_category")
    brands = lines.group_by("customer_id", "category", "brand").len("in_brand")
    asked = pl.DataFrame({"customer_id": list(world.truth)}).join(rated, how="cross")
    asked = asked.join(taste, on=["customer_id", "category"], how="left")
    asked = asked.join(brands, on=["customer_id", "category", "brand"], how="left").fill_null(0)
    asked = asked.sort(
        "customer_id", "in_brand", "in_category", "expected", "product_id", descending=[False, True, True, True, False]
    )
    own = asked.group_by("customer_id", maintain_order=True).agg(pl.col("product_id").head(K))
    newest = world.products.filter(pl.col("created_at").is_not_null()).sort(
        "created_at", "product_id", descending=[True, False]
    )["product_id"].head(K)  # fmt: skip
    return {
        "popularity of category and brand": dict.fromkeys(world.truth, popular[:K]),
        "own category and brand": {row[0]: row[1] for row in own.iter_rows()},
        "newest first": dict.fromkeys(world.truth, newest.to_list()),
        "chance": shuffled(world),
    }


def shuffled(world: World) -> Lists:
    """Draw a list for each customer from all candidates."""
    rng = np.random.default_rng(0)
    return {c: [world.candidates[i] for i in rng.integers(0, len(world.candidates), K)] for c in world.truth}


def customer_baselines(world: World) -> dict[str, Lists]:
    """Rank by baskets, over all time and over the last two months."""
    moment = int(world.events["at"].max())  # type: ignore[arg-type] # the column holds integers
    lists: dict[str, Lists] = {}
    for name, days in (("popularity", 10_000), ("popularity of 60 days", 60)):
        recent = world.events.filter(pl.col("at") > moment - days * DAY_US)
        order = recent.select("item_id", "order_id").unique().group_by("item_id").len()
        best = order.sort("len", "item_id", descending=[True, False])["item_id"].head(K).to_list()
        lists[name] = dict.fromkeys(world.truth, best)
    return lists


def pond(work: Path, *words: str) -> Run:
    """Call the command line with its own home."""
    return run([sys.executable, "-m", "pond.cli.main", *words, "--home", str(work / "home")], work / f"{words[0]}.log")


def write_world(world: World, folder: Path, moment: int) -> None:
    """Write what `pond ingest` and `pond recommend` read."""
    world.events.write_parquet(folder / "events.parquet")
    world.products.write_parquet(folder / "products.parquet")
    world.customers.write_parquet(folder / "customers.parquet")
    pl.DataFrame({"customer_id": list(world.truth)}).with_columns(at=pl.lit(moment)).write_csv(folder / "asked.csv")


def measure(part: str, split: str, world: World, work: Path) -> None:
    """Train once, ask every scene, record every system beside its baselines."""
    work.mkdir(parents=True, exist_ok=True)
    products = part == "products"
    write_world(world, work, moment_us(split))
    config = work / "scenes.toml"
    config.write_text(SETTINGS if products else STRANGERS, "utf-8")
    pond(work, "shop", "create", "cold", "--timezone", TIMEZONE)
    files = [
        word for name in ("products", "customers", "events") for word in (f"--{name}", str(work / f"{name}.parquet"))
    ]
    ingest = pond(work, "ingest", "--shop", "cold", *files)
    train = pond(work, "train", "--shop", "cold", "--config", str(config), "--as-of", f"{MOMENTS[split].isoformat()}")
    baselines = product_baselines(world) if products else customer_baselines(world)
    scored = {name: customer_scores(world.truth, lists, [K], cut_ideal=False) for name, lists in baselines.items()}
    best = max(scored, key=lambda name: scored[name][f"recall@{K}"].mean())
    data = f"complete journey, {part} never {'sold' if products else 'seen'}"
    note = f"{len(world.truth)} customers, {len(world.candidates)} products to choose from"
    command = f"python -m benchmarks.quality.cold_start --only {part} --split {split}"
    added = "added to the defaults: " + "; ".join(line for line in config.read_text("utf-8").splitlines() if line)
    row = Row(data, 0, "", note, {}, {}, command, SEEDS[split])
    for name, scores in scored.items():
        record(split, replace(row, system=name, figures={metric: float(s.mean()) for metric, s in scores.items()}))
    for scene in PRODUCT_SCENES if products else CUSTOMER_SCENES:
        answers = work / f"{scene}.parquet"
        asked = ("--customers", str(work / "asked.csv"), "--k", str(K), "--out", str(answers))
        answer = pond(work, "recommend", "--shop", "cold", "--scene", scene, *asked)
        shown = pl.read_parquet(answers).sort("customer_id", "rank").group_by("customer_id", maintain_order=True)
        lists = dict(shown.agg("item_id").iter_rows())
        scores = customer_scores(world.truth, lists, [K], cut_ideal=False)
        figures = {metric: float(s.mean()) for metric, s in scores.items()}
        figures["mean_length"] = sum(map(len, lists.values())) / len(world.truth)
        against = {"system": best} | paired_intervals(scores, scored[best])
        steps = {"ingest": ingest, "train": train, "answer": answer}
        record(
            split,
            replace(
                row, system=f"pond {scene}", settings=f"{note}; {added}", figures=figures, steps=steps, against=against
            ),
        )
        print(split, data, scene, figures, against, flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["products", "customers"])
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (asked.work or Path(temporary)) / f"cold-{asked.split}"
        source = read_source(work)
        for part, held_out in (("products", without_products), ("customers", without_customers)):
            if asked.only in (None, part):
                measure(part, asked.split, held_out(source, asked.split), work / part)


if __name__ == "__main__":
    main()
