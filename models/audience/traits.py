"""What speaks for each customer wanting something, for all customers at once (vectorized over customers).

The families of `features.definitions` turned round: one target and everybody, instead of one customer and many items.
Days are counted from the crowd's moment; a target's purchases are its distinct (customer, basket) pairs.
"""

from typing import Final

import numpy as np

from features.arrays import Float32s, Float64s
from models.audience.crowd import ACTIVITY, Crowd, counts, extremes
from models.audience.sales import Bought, Kin, Sales
from models.audience.target import Target

HALF_LIVES: Final = (7, 30, 90)
GAP_PRIOR: Final = 2.0  # gaps' worth of the target's own mean gap
USUAL_LOG_GAP: Final = 3.0  # of a target that nobody bought twice: log of 20 days
LOOKED_DAYS: Final = 7.0  # half-life of a look

OWN: Final = (
    "count", *(f"half_life_{d}d" for d in HALF_LIVES), "in_28d", "in_84d", "days_since", "days_since_first", "gap",
    "due", "share_of_baskets", "rate", "looked",
)  # fmt: skip
KIN: Final = tuple(f"{kin}_{what}" for kin in ("leaf", "family", "brand") for what in ("90d", "since", "share", "own"))
ALIKE: Final = ("alike", "alike_place")
OF_TARGET: Final = ("share_28d", "share_84d", "share_ever", "rebought", "log_gap", "log_products")
TRAITS: Final = (*OWN, *KIN, *ALIKE, "mean_size", "overdue", *ACTIVITY, *OF_TARGET)
# More of these never speaks against a customer, all else equal.
RISING: Final = frozenset({"half_life_30d", "leaf_90d", "alike", "looked"})


def traits_of(target: Target, crowd: Crowd, sales: Sales) -> Float32s:
    """Return everything known of everybody against one target: float32 [n_customers, len(TRAITS)].

    Cost: the events of the target's own products and of its families, and one pass over the crowd's interests.
    """
    n = crowd.n_customers
    rows = sales.of_items(target.item_idx)
    own = sales.bought(rows)
    found, log_gap = _own_traits(own, crowd)
    found["looked"] = sales.looked(rows).half_lives(LOOKED_DAYS, n)
    kinds = (("leaf", crowd.leaf, target.leaves), ("family", crowd.family, target.families))
    for name, codes, wanted in (*kinds, ("brand", crowd.brand, target.brands)):
        found |= _kin_traits(name, own, sales.kin(name, codes, wanted), crowd)
    found["alike"] = alike(target, own, crowd)
    found["alike_place"] = np.argsort(np.argsort(found["alike"], kind="stable"), kind="stable") / max(n, 1)
    found |= {name: crowd.active(name) for name in ACTIVITY}
    baskets, last, first = (crowd.active(c) for c in ("baskets", "days_since_basket", "days_since_first_basket"))
    found["mean_size"] = crowd.active("lines_84d") / np.maximum(crowd.active("baskets_84d"), 1)
    found["overdue"] = last / np.maximum((first - last) / np.maximum(baskets - 1, 1), 0.5)
    found |= _target_traits(target, found, log_gap, crowd)
    matrix = np.empty((n, len(TRAITS)), np.float32)
    for column, name in enumerate(TRAITS):
        matrix[:, column] = found[name]
    return matrix


def _own_traits(own: Bought, crowd: Crowd) -> tuple[dict[str, Float64s | Float32s | float], float]:
    n = crowd.n_customers
    count = counts(own.who, n)
    last, first = extremes(own.who, own.days, n)
    many = count > 1
    gap = np.where(many, (first - last) / np.maximum(count - 1, 1), np.nan)
    log_own = np.where(many, np.log(np.maximum(np.nan_to_num(gap, nan=1.0), 0.5)), 0.0)
    log_gap = float(log_own[many].mean()) if many.any() else USUAL_LOG_GAP
    expected = (log_own * np.maximum(count - 1, 0) + GAP_PRIOR * log_gap) / (np.maximum(count - 1, 0) + GAP_PRIOR)
    found: dict[str, Float64s | Float32s | float] = {
        "count": count, "days_since": last, "days_since_first": first, "gap": gap,
        "due": np.log(np.maximum(last, 0.5)) - expected, "rate": count / np.maximum(np.nan_to_num(first), 14.0),
        "share_of_baskets": count / np.maximum(crowd.active("baskets"), 1),
    }  # fmt: skip
    found |= {f"half_life_{days}d": own.half_lives(days, n) for days in HALF_LIVES}
    found |= {f"in_{days}d": counts(own.who[own.days <= days], n) for days in (28, 84)}
    return found, log_gap


def _kin_traits(name: str, own: Bought, kin: Kin, crowd: Crowd) -> dict[str, Float64s]:
    return {
        f"{name}_90d": kin.recent, f"{name}_since": kin.since,
        f"{name}_share": kin.count / np.maximum(crowd.active("baskets"), 1),
        f"{name}_own": np.where(kin.count > 0, counts(own.who, crowd.n_customers) / np.maximum(kin.count, 1), np.nan),
    }  # fmt: skip


def alike(target: Target, own: Bought, crowd: Crowd) -> Float64s:
    """How near each customer's interests are to those of the target's buyers, himself and the target left out: [n].

    Mean cosine to the buyers, each weighed by log(1 + his decayed purchases): a walk customer → item → customer
    (look-alike modelling; Ma, Wagh, Wen et al. 2016, "Score look-alike audiences", the nearest-centre form).
    """
    interest = crowd.interest
    vote = np.log1p(own.half_lives(HALF_LIVES[-1], crowd.n_customers))
    buyers = np.flatnonzero(vote)
    theirs = interest[buyers]
    centre = np.asarray(theirs.T @ vote[buyers])
    centre[target.item_idx] = 0.0
    square = np.where(target.mask(crowd.n_items)[theirs.indices], 0.0, theirs.data.astype(np.float64) ** 2)
    himself = np.zeros(crowd.n_customers)
    rows = np.repeat(np.arange(len(buyers)), np.diff(theirs.indptr))
    himself[buyers] = vote[buyers] * np.bincount(rows, square, len(buyers))
    near: Float64s = (np.asarray(interest @ centre) - himself) / max(float(vote.sum()), 1e-12)
    return near


def _target_traits(
    target: Target, found: "dict[str, Float64s | Float32s | float]", log_gap: float, crowd: Crowd
) -> dict[str, float]:
    """What is the same for everybody: how many of the active buy it, how many again."""
    count = np.asarray(found["count"])
    told = {"log_gap": log_gap, "log_products": float(np.log1p(len(target)))}
    for days in (28, 84):
        active = float((crowd.active(f"baskets_{days}d") > 0).sum())
        told[f"share_{days}d"] = float((np.asarray(found[f"in_{days}d"]) > 0).sum()) / max(active, 1.0)
    ever = float((count > 0).sum())
    told["share_ever"] = ever / max(float((crowd.active("baskets") > 0).sum()), 1.0)
    told["rebought"] = (float((count > 1).sum()) + 1.0) / (ever + 5.0)
    return told
