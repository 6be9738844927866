"""Splits: what may be learned from, and what the customers did afterwards (DESIGN §6).

    time_split    everything before the cut T is known; truth: the purchases of the days after it
    last_basket   of each customer all before the last basket is known; truth: that basket
    hold_out      where the data has no order: a seeded share of each customer's items is the truth

The test part is the latest one and is only for the final report; the validation part lies before it and is what
settings are chosen on. A fit sees `Split.known` and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from features.arrays import Bools, Int32s, Int64s
from features.clock import local_day_start
from features.columns import ItemKind
from features.dataset import MOMENT_MAX, Dataset
from features.errors import ContractError, NothingToJudge
from features.history import DAY_US, EMPTY, Histories, History
from features.sentences import counted
from models.rng import derived_rng
from training.settings import TrainingSettings

Part: TypeAlias = Literal["validation", "test"]
HORIZONS_DAYS: Final = (1, 2, 4, 7, 14, 28, 56)
ENOUGH_CUSTOMERS: Final = 1000
LEAST_HORIZON_DAYS: Final = 7


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """One customer to be judged, in the dataset's indexes.

    Attributes
    ----------
    customer_idx : int
    at : int
        When the scenes that look ahead ask, UTC µs.
    truth : int32 [n]
        Distinct products bought in the time of truth, ascending.
    basket_at : int
        When the first basket of the truth is bought: `next_basket` asks then.
    basket : int32 [m]
        Distinct products of that basket.
    tail : History
        What happened from the cut until `basket_at`: a service would have seen it.
    """

    customer_idx: int
    at: int
    truth: Int32s
    basket_at: int
    basket: Int32s
    tail: History = EMPTY


@dataclass(frozen=True, eq=False)
class Split:
    """A dataset cut in two: `known` to fit on, `cases` to judge (what happened before `until`, UTC µs).

    `note` says in words how it was cut.
    """

    protocol: str
    part: Part
    known: Dataset
    cases: tuple[Case, ...]
    horizon_days: int
    note: str
    until: int = MOMENT_MAX


def split_dataset(dataset: Dataset, settings: TrainingSettings, part: Part = "test") -> Split:
    """Cut a dataset by the protocol of the settings and draw the customers to judge (see `split_all`)."""
    return sampled(split_all(dataset, settings, part), settings)


def split_all(dataset: Dataset, settings: TrainingSettings, part: Part = "test") -> Split:
    """Cut a dataset by the protocol of the settings; every customer that can be judged is a case.

    Raises `NothingToJudge` when there is nothing to judge: no purchases, or nobody bought twice.
    """
    bought = dataset.product_events.purchases
    if not len(bought):
        raise _nothing_known(dataset)
    protocol = settings.protocol if settings.protocol != "auto" else choose_protocol(dataset, bought)
    cut = {"time_split": _by_time, "last_basket": _by_last_basket, "hold_out": _by_hold_out}[protocol]
    split = cut(dataset, bought, settings, part)
    if not split.cases:
        raise NothingToJudge(
            "events", "at", f"no customer can be judged by {protocol} ({split.note}); give more history or a horizon."
        )
    return split


def _nothing_known(dataset: Dataset) -> ContractError:
    """Tell a shop that has not sold yet, which can serve its catalogue or contents, from one without any data."""
    if any(len(dataset.items(kind)) for kind in ItemKind):
        return NothingToJudge("events", "kind", "there are no purchases of products yet.")
    return ContractError("events", "kind", "there are no purchases of products; ingest events before training.")


def choose_protocol(dataset: Dataset, bought: Histories) -> Literal["time_split", "last_basket", "hold_out"]:
    """Return the protocol that the order in the data allows.

    All at one moment has no order. Where more than half of the customers' last purchases stand on the shop's last
    day, times give each customer's order only (data prepared from sequences), and a common cut would mean nothing.
    """
    if int(bought.at.min()) == int(bought.at.max()):
        return "hold_out"
    ends = bought.indptr[1:][np.diff(bought.indptr) > 0] - 1
    last_day = local_day_start(int(bought.at.max()), dataset.timezone)
    return "last_basket" if len(ends) > 1 and (bought.at[ends] >= last_day).mean() > 0.5 else "time_split"


def choose_horizon_days(bought: Histories, as_of: int) -> int:
    """Return days of truth: the shortest from a week on with 1,000 buyers in it, at most a quarter of the data."""
    span = (as_of - int(bought.at.min())) / DAY_US
    fits = [d for d in HORIZONS_DAYS if d <= span / 4] or [HORIZONS_DAYS[0]]
    wide = [d for d in fits if d >= LEAST_HORIZON_DAYS] or fits[-1:]
    who = bought.customer_idx
    for days in wide:
        if len(np.unique(who[bought.at >= as_of - days * DAY_US])) >= ENOUGH_CUSTOMERS:
            return days
    return wide[-1]


def _by_time(dataset: Dataset, bought: Histories, settings: TrainingSettings, part: Part) -> Split:
    end = min(dataset.as_of, int(bought.at.max()) + 1)
    days = settings.horizon_days or choose_horizon_days(bought, end)
    # Cut at the start of a local day, so that a basket grouped by day is not cut in two.
    cut = local_day_start(end - days * DAY_US, dataset.timezone)
    if part == "validation":
        end, cut = cut, local_day_start(cut - days * DAY_US, dataset.timezone)
    inside = bought.where((bought.at >= cut) & (bought.at < end))
    known = dataset.before(cut)
    cases = []
    for customer in np.flatnonzero(np.diff(inside.indptr)):
        after = inside.of(int(customer))
        basket_at = int(after.at[0])
        basket = np.unique(after.item_idx[after.order_idx == after.order_idx[0]])
        tail = dataset.product_events.of(int(customer)).before(basket_at).since(cut)
        cases.append(Case(int(customer), cut, np.unique(after.item_idx), basket_at, basket, tail))
    note = f"known: all before the last {counted(days, 'day')}; truth: what was bought since"
    return Split("time_split", part, known, tuple(cases), days, note, end)


def _by_last_basket(dataset: Dataset, bought: Histories, settings: TrainingSettings, part: Part) -> Split:  # noqa: ARG001
    events = dataset.product_events
    until: Int64s = np.full(events.n_customers, np.iinfo(np.int64).max)
    cases = []
    for customer in np.flatnonzero(np.diff(bought.indptr)):
        own = bought.of(int(customer))
        last = int(own.order_idx.max())
        if part == "validation":
            last -= 1
        if last < 1:  # who bought once keeps the basket: there is nothing to ask from
            if part == "validation" and last == 0:
                until[customer] = _start(own, 1)
            continue
        at = _start(own, last)
        until[customer] = at
        basket = np.unique(own.item_idx[own.order_idx == last])
        cases.append(Case(int(customer), at, basket, at, basket))
    keep = events.at < until[events.customer_idx]
    known = _with_products(dataset, events.where(keep))
    note = "known: all before each customer's last basket; truth: that basket"
    return Split("last_basket", part, known, tuple(cases), 0, note)


def _start(own: History, order: int) -> int:
    return int(own.at[own.order_idx == order].min())


def _by_hold_out(dataset: Dataset, bought: Histories, settings: TrainingSettings, part: Part) -> Split:
    rng = derived_rng(settings.seed, "hold_out")
    held: Bools = np.zeros(len(dataset.product_events), np.bool_)
    events = dataset.product_events
    cases = []
    for customer in range(events.n_customers):
        row = slice(int(events.indptr[customer]), int(events.indptr[customer + 1]))
        items = np.unique(bought.of(customer).item_idx)
        n_held = round(settings.hold_out_share * len(items))
        drawn = rng.permutation(items)
        # Both parts come from one drawing: choosing on validation never shows what test asks.
        test, validation = drawn[:n_held], drawn[n_held : 2 * n_held]
        hidden = test if part == "test" else np.concatenate([test, validation])
        truth = np.sort(test if part == "test" else validation).astype(np.int32)
        if len(truth):
            held[row] = np.isin(events.item_idx[row], hidden)
            cases.append(Case(customer, dataset.as_of, truth, dataset.as_of, truth))
    known = _with_products(dataset, events.where(~held))
    note = f"the data has no order in time: {settings.hold_out_share:.0%} of each customer's items are the truth"
    return Split("hold_out", part, known, tuple(cases), 0, note)


def _with_products(dataset: Dataset, events: Histories) -> Dataset:
    return Dataset(
        dataset.shop, dataset.timezone, dataset.as_of, dataset.customers, dataset.products, dataset.contents,
        dataset.bundles, dataset.events | {ItemKind.product: events},
    )  # fmt: skip


def sampled(split: Split, settings: TrainingSettings) -> Split:
    """Draw as many cases as the settings judge."""
    if len(split.cases) <= settings.customers:
        return split
    rng = derived_rng(settings.seed, "judged customers")
    drawn = np.sort(rng.choice(len(split.cases), settings.customers, replace=False))
    cases: Sequence[Case] = [split.cases[i] for i in drawn]
    note = f"{split.note}; {settings.customers:,} of {len(split.cases):,} customers drawn by chance"
    return replace(split, cases=tuple(cases), note=note)
