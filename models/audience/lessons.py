"""What audiences are learned from: targets of earlier moments, and who bought them in the weeks that followed.

Everything a lesson looks at lies before its cut, what it is answered by after it; the crowd is seen as of the cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Bools, Float32s, Float64s, Int32s
from features.columns import EventKind
from features.dataset import Dataset
from features.history import DAY_US, Histories
from models.audience.crowd import Crowd, see_crowd
from models.audience.sales import Sales, sales_before
from models.audience.target import Target, among
from models.audience.traits import traits_of
from models.recommenders.evidence import EvidenceConfig

NEWTON_STEPS: Final = 25
SLOPE_RIDGE: Final = 1.0  # rows' worth of the belief that the trees' log odds are right as they are
PARTS_OF_A_SET: Final = (2, 12)  # products of a target that is no category: a bundle, a campaign's offers


class LessonsConfig(BaseModel):
    """What audiences are learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_days: int = Field(28, ge=1, le=365, description="A purchase within so many days is a response.")
    cuts: int = Field(3, ge=1, le=12, description="Moments learned from, one horizon apart, the last one before now.")
    products: int = Field(120, ge=1, description="Products asked about at each cut, drawn by chance.")
    leaves: int = Field(30, ge=0, description="Lowest categories asked about at each cut.")
    families: int = Field(15, ge=0, description="Higher categories asked about at each cut.")
    sets: int = Field(20, ge=0, description="Sets of several products of a family asked about at each cut.")
    least_buyers: int = Field(20, ge=1, description="Of a target in the horizon before its cut.")
    customers: int = Field(20_000, ge=1, description="Most customers learned from, drawn by chance.")
    silent_share: float = Field(0.15, gt=0, le=1, description="Share of those who did not respond that is kept.")
    least_responses: int = Field(500, ge=1, description="With fewer responses in all a rule orders the customers.")


@dataclass(frozen=True, eq=False, slots=True)
class Lessons:
    """Rows to learn from.

    Attributes
    ----------
    traits : float32 [n, n_traits]
    bought : bool [n]
        Whether the customer bought the target within the horizon.
    weight : float32 [n]
        How many rows each stands for.
    """

    traits: Float32s
    bought: Bools
    weight: Float32s

    @classmethod
    def joined(cls, lessons: "Sequence[Lessons]") -> Self:
        """Return several as one."""
        return cls(
            np.concatenate([one.traits for one in lessons]), np.concatenate([one.bought for one in lessons]),
            np.concatenate([one.weight for one in lessons]),
        )  # fmt: skip


def lessons_of(
    dataset: Dataset, config: LessonsConfig, evidence: EvidenceConfig, rng: np.random.Generator
) -> list[Lessons]:  # fmt: skip
    """Return the lessons of each cut that has a history before it, the latest first."""
    dataset = _of_some(dataset, config.customers, rng)
    events, horizon = dataset.product_events, config.horizon_days * DAY_US
    begin = int(events.at.min(initial=dataset.as_of))
    found: list[Lessons] = []
    for number in range(1, config.cuts + 1):
        cut = dataset.as_of - number * horizon
        if cut - begin < horizon:  # less than one horizon is known before it
            break
        known = dataset.before(cut)
        crowd = see_crowd(known, evidence)
        later = events.where((events.at >= cut) & (events.at < cut + horizon) & (events.kind == EventKind.purchase))
        sales = sales_before(crowd, known.product_events)
        rows = [
            _lesson(target, crowd, sales, later, config.silent_share, rng)
            for target in targets_of(crowd, known.product_events, config, rng)
        ]
        if rows:
            found.append(Lessons.joined(rows))
    return found


def _of_some(dataset: Dataset, limit: int, rng: np.random.Generator) -> Dataset:
    """Return a dataset in which only some customers have done anything."""
    events = dataset.product_events
    active = np.flatnonzero(np.diff(events.indptr))
    if len(active) <= limit:
        return dataset
    drawn = among(np.sort(rng.choice(active, limit, replace=False)).astype(np.int32), events.n_customers)
    kept = {kind: each.where(drawn[each.customer_idx]) for kind, each in dataset.events.items()}
    return replace(dataset, events=kept, trails=None)  # trails belong to all lines; lessons do not look at them


def targets_of(
    crowd: Crowd, events: Histories, config: LessonsConfig, rng: np.random.Generator
) -> Iterator[Target]:  # fmt: skip
    """Yield what is asked about at a cut: products, categories and sets with buyers in the horizon before."""
    lately = events.where(
        (events.at >= crowd.as_of - config.horizon_days * DAY_US) & (events.kind == EventKind.purchase)
    )
    who, item = lately.customer_idx, lately.item_idx
    n_items = crowd.n_items
    for one in _drawn(_with_buyers(who, item, n_items, config.least_buyers), config.products, rng):
        yield Target.of(crowd, np.array([one], np.int32))
    families: Int32s = np.empty(0, np.int32)
    for codes, limit in ((crowd.leaf, config.leaves), (crowd.family, config.families)):
        known = codes[item] >= 0
        n_codes = int(codes.max(initial=-1)) + 1
        enough = _with_buyers(who[known], codes[item][known], n_codes, config.least_buyers)
        for code in _drawn(enough, limit, rng):
            yield Target.of(crowd, np.flatnonzero(codes == code).astype(np.int32))
        families = enough
    sold = among(np.unique(item), n_items)
    for code in _drawn(families, config.sets, rng):
        inside = np.flatnonzero((crowd.family == code) & sold)
        size = min(int(rng.integers(*PARTS_OF_A_SET, endpoint=True)), len(inside))
        yield Target.of(crowd, rng.choice(inside, size, replace=False).astype(np.int32))


def _with_buyers(who: Int32s, code: Int32s, n_codes: int, least: int) -> Int32s:
    """Return the codes that at least so many customers bought: int32 [≤ n_codes]."""
    pairs = np.unique(who.astype(np.int64) * max(n_codes, 1) + code)
    buyers = np.bincount(pairs % max(n_codes, 1), minlength=n_codes)
    return np.flatnonzero(buyers >= least).astype(np.int32)


def _drawn(codes: Int32s, limit: int, rng: np.random.Generator) -> Int32s:
    return codes if len(codes) <= limit else np.sort(rng.choice(codes, limit, replace=False))


def _lesson(
    target: Target, crowd: Crowd, sales: Sales, later: Histories, silent_share: float, rng: np.random.Generator
) -> Lessons:  # fmt: skip
    """Take all who responded and some of those who did not, of all who ever bought anything."""
    hit = target.mask(crowd.n_items)[later.item_idx]
    bought = among(np.unique(later.customer_idx[hit]), crowd.n_customers)
    kept = (crowd.active("baskets") > 0) & (bought | (rng.random(crowd.n_customers) < silent_share))
    weight = np.where(bought, 1.0, 1.0 / silent_share).astype(np.float32)
    traits = traits_of(target, crowd, sales)
    return Lessons(traits[kept], bought[kept], weight[kept])


def fit_logistic(odds: Float64s, wanted: Bools, weight: Float32s) -> tuple[float, float]:
    """Return slope and intercept that make log odds the likeliest, by Newton's method (Platt 1999).

    One row's worth of ridge holds the slope to 1.
    """
    slope, intercept = 1.0, 0.0
    for _ in range(NEWTON_STEPS):
        expected = 1.0 / (1.0 + np.exp(-np.clip(slope * odds + intercept, -500, 500)))
        missed, spread = weight * (expected - wanted), weight * expected * (1 - expected)
        gradient = np.array([missed @ odds + SLOPE_RIDGE * (slope - 1), missed.sum()])
        cross = float(spread @ odds)
        curvature = np.array([[spread @ odds**2 + SLOPE_RIDGE, cross], [cross, spread.sum() + 1e-9]])
        step = np.linalg.solve(curvature, gradient)
        slope, intercept = slope - float(step[0]), intercept - float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    return slope, intercept
