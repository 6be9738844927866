"""Audiences on the Complete Journey: who buys this product, or from this category, in the next four weeks.

    python -m benchmarks.quality.audience [--split test|val] [--work DIR]

Reverse next-period recommendation. T lies four weeks before the end of the data (`val`: eight weeks); Pond is trained
through the command line with `--as-of T`, and asked for each target through the function behind `pond audience`; one
list is asked for through the command line too and must be the same. Targets: 200 products (seeded draw; all when there
are fewer) with at least 30 buyers in the four weeks before T, and 60 lowest categories likewise. Truth: the households
that bought it in the four weeks after T. Precision at a budget of n households, mean over targets; `new`: only those
who did not buy it in the twelve weeks before T. Adds rows to benchmarks/results/quality-<split>.*.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import rankdata

from benchmarks.quality.measure import Run, run
from benchmarks.quality.scores import Scores, paired_intervals
from benchmarks.quality.table import Row, record
from features.lake import Lake
from features.shop import open_shop
from models.audience.aim import AimKind
from models.audience.selection import Budget, Rules
from models.release_store import DirectoryStore
from models.trained import Models
from pond.demo.journey import TIMEZONE, write_journey
from training.audience import AudienceQuestion, seek_audience

DAY_US = 86_400_000_000
HORIZON = 28 * DAY_US
NEW = 84 * DAY_US
BACK = {"test": 1, "val": 2}
SEED = {"test": 1, "val": 2}
LEAST_BUYERS = 30
TARGETS: Mapping[AimKind, int] = {"product": 200, "category": 60}
BUDGETS = (20, 50, 100, 200)
SHOP = "journey"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Year:
    """Purchases as (household, target, at), and what a target of each kind is called."""

    lines: pl.DataFrame
    until: int

    def around(self, split: str) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """Return what came before T and in the four weeks after, and T."""
        moment = self.until - BACK[split] * HORIZON
        later = self.lines.filter(pl.col("at").is_between(moment, moment + HORIZON, closed="left"))
        return self.lines.filter(pl.col("at") < moment), later, moment


def targets_of(before: pl.DataFrame, kind: str, moment: int, seed: int) -> list[str]:
    """Draw the targets."""
    lately = before.filter((pl.col("at") >= moment - HORIZON) & pl.col(kind).is_not_null())
    buyers = lately.group_by(kind).agg(n=pl.col("customer_id").n_unique())
    known = buyers.filter(pl.col("n") >= LEAST_BUYERS)[kind].sort().to_list()
    limit = TARGETS[kind]  # type: ignore[index] # the two kinds there are
    drawn = np.random.default_rng(seed).choice(len(known), min(limit, len(known)), replace=False)
    return [known[int(n)] for n in np.sort(drawn)]


def baselines(own: pl.DataFrame, everybody: pl.DataFrame, moment: int) -> dict[str, dict[str, float]]:
    """Score households for one target from its purchases; who never bought it comes last, the most active first."""
    activity = dict(everybody.select("customer_id", "active").iter_rows())
    age = (moment - pl.col("at")) / DAY_US
    counted = own.group_by("customer_id").agg(
        last=-age.min(), count=pl.col("basket").n_unique().cast(pl.Float64), decayed=(0.5 ** (age / 90)).sum()
    )
    found = {"activity of the last four weeks": dict(activity)}
    for name, column in (("bought before, by recency", "last"), ("bought before, by frequency", "count"),
                         ("bought before, by decayed frequency", "decayed")):  # fmt: skip
        bought = dict(counted.select("customer_id", column).iter_rows())
        found[name] = activity | {who: 1e6 + value * 1e3 + activity[who] for who, value in bought.items()}
    return found


def precisions(order: list[str], truth: set[str], lately: set[str]) -> dict[str, float]:
    """Return precision at each budget, at 50 among new buyers, and the area under the curve."""
    hit = np.array([who in truth for who in order])
    figures = {f"precision@{n}": float(hit[:n].mean()) for n in BUDGETS}
    fresh = np.array([who in truth for who in order if who not in lately])
    return figures | {"new_precision@50": float(fresh[:50].mean()), "auc@all": area(-np.arange(len(order)), hit)}


def area(score: npt.ArrayLike, hit: npt.NDArray[np.bool_]) -> float:
    """Probability that a random buyer stands before a random other: the Mann-Whitney statistic, ties half."""
    n = int(hit.sum())
    if n in (0, len(hit)):
        return 0.5
    ranks: Floats = rankdata(np.asarray(score, np.float64))
    return float((ranks[hit].sum() - n * (n + 1) / 2) / (n * (len(hit) - n)))


def asked(models: Models, lake: Lake, kind: AimKind, target: str) -> pl.DataFrame:
    """Return everybody, the most likely first."""
    question = AudienceQuestion(kind, target, Rules(Budget()), for_analysis=True)
    return seek_audience(models, lake, question).listed


def pond(work: Path, *words: str) -> Run:
    """Call the command line with its own home."""
    return run([sys.executable, "-m", "pond.cli.main", *words, "--home", str(work / "home")], work / f"{words[0]}.log")


def trained(work: Path, year: Year, split: str, files: list[str]) -> tuple[Models, Lake, dict[str, Run]]:
    """Make the shop and its release of moment T."""
    moment = year.around(split)[2]
    pond(work, "shop", "create", SHOP, "--timezone", TIMEZONE)
    steps = {"ingest": pond(work, "ingest", "--shop", SHOP, *files)}
    as_of = datetime.fromtimestamp(moment / 1e6, UTC).isoformat()
    steps["train"] = pond(work, "train", "--shop", SHOP, "--as-of", as_of)
    shop = open_shop(work / "home", SHOP)
    store = DirectoryStore(shop.releases_dir)
    current = store.current_id()
    if current is None:
        raise SystemExit("the training has published nothing")
    return store.load(current).models, Lake(shop.lake_dir), steps


def measure(kind: AimKind, split: str, year: Year, world: tuple[Models, Lake, dict[str, Run]], work: Path) -> None:
    """Ask every system about every target; record each beside the best of the others."""
    models, lake, steps = world
    before, later, moment = year.around(split)
    active = before.group_by("customer_id").agg(
        active=pl.col("basket").filter(pl.col("at") >= moment - HORIZON).n_unique() + pl.col("basket").n_unique() / 1e4
    ).sort("customer_id")  # fmt: skip
    rows: dict[str, list[dict[str, float]]] = {}
    expected, seen = np.zeros(2), np.zeros(2)
    targets = targets_of(before, kind, moment, SEED[split])
    for target in targets:
        own = before.filter(pl.col(kind) == target)
        truth = set(later.filter(pl.col(kind) == target)["customer_id"])
        lately = set(own.filter(pl.col("at") >= moment - NEW)["customer_id"])
        for name, score in baselines(own, active, moment).items():
            order = sorted(score, key=lambda who: (-score[who], who))
            rows.setdefault(name, []).append(precisions(order, truth, lately))
        found = asked(models, lake, kind, target)
        rows.setdefault("pond", []).append(precisions(found["customer_id"].to_list(), truth, lately))
        hit = found["customer_id"].is_in(list(truth)).to_numpy()
        probability = found["probability"].to_numpy()
        expected += [probability.sum(), probability[:100].sum()]
        seen += [hit.sum(), hit[:100].sum()]
    _check_command(work, kind, targets[0], asked(models, lake, kind, targets[0]))
    scores: dict[str, Scores] = {
        name: {metric: np.array([one[metric] for one in found]) for metric in found[0]} for name, found in rows.items()
    }
    honest = max((name for name in scores if name != "pond"), key=lambda name: scores[name]["precision@50"].mean())
    note = f"{len(targets)} targets with {LEAST_BUYERS} buyers or more before T; intervals over targets"
    command = f"python -m benchmarks.quality.audience --split {split}"
    row = Row(f"complete journey, who buys this {kind} in four weeks", 0, "", note, {}, {}, command, SEED[split])
    for name, found in scores.items():
        figures = {metric: float(value.mean()) for metric, value in found.items()}
        if name == "pond":
            figures |= {"expected/seen@all": expected[0] / seen[0], "expected/seen@100": expected[1] / seen[1]}
            for other in ("bought before, by recency", honest):
                against = {"system": other} | paired_intervals(found, scores[other])
                print(split, kind, {k: round(v, 4) for k, v in figures.items()}, against, flush=True)
            row_of = replace(row, system=name, figures=figures, steps=steps, against=_against(scores))
            record(split, row_of)
            continue
        record(split, replace(row, system=name, figures=figures))


def _against(scores: Mapping[str, Scores]) -> dict[str, object]:
    other = "bought before, by recency"
    return {"system": other} | paired_intervals(scores["pond"], scores[other])


def _check_command(work: Path, kind: AimKind, target: str, wanted: pl.DataFrame) -> None:
    """Ask for one list through the command line: it must be what was measured."""
    out = work / "one.parquet"
    pond(work, "audience", "--shop", SHOP, f"--{kind}", target, "--budget", "100", "--analysis", "--out", str(out))
    if not pl.read_parquet(out).equals(wanted.head(100)):
        raise SystemExit("the command line answers otherwise than the function behind it")


def main() -> None:
    """Measure both kinds of target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (told.work or Path(temporary)) / f"audience-{told.split}"
        work.mkdir(parents=True, exist_ok=True)
        made = write_journey(work / "source", datetime(2018, 1, 2, tzinfo=UTC))
        kinds = pl.read_parquet(made.products).select("product_id", "category")
        lines = (
            pl.read_parquet(made.events)
            .join(kinds, left_on="item_id", right_on="product_id", how="left")
            .select("customer_id", "at", "category", product="item_id", basket="order_id")
        )
        year = Year(lines, int(lines["at"].max()) + 1)  # type: ignore[arg-type] # the column holds integers
        files = [word for table, path in made.tables for word in (f"--{table}", str(path))]
        world = trained(work, year, told.split, files)
        for kind in TARGETS:
            measure(kind, told.split, year, world, work)


if __name__ == "__main__":
    main()
