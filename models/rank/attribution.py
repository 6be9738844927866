"""What raised a score: path attributions of a forest, summed by cause, at the price of one look-up per tree.

Along the path from a tree's root to a leaf each split moves the expected value; the move belongs to the feature split
on (Saabas 2014, "Interpreting random forests"). It depends on the leaf alone, so a table leaf → causes is made once a
forest. The moves of a path sum to the leaf's value less the root's, as SHAP's do; unlike SHAP's (Lundberg et al.
2020) they depend on the order of the splits: the later of two that say the same gets what the earlier left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from features.arrays import Float64s, Int32s, Int64s

REST: Final = "rest"  # what says nothing of this item in particular: the customer, the calendar
_CAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "rhythm": (
        "gap_baskets", "gap_days", "last_gap", "due_baskets", "due_days", "hazard", "like_gap", "like_weekday",
    ),
    "lately": ("decayed_0.5", "decayed_0.7", "half_life_10d", "in_last_3", "baskets_since", "days_since"),
    "habit": (
        "count", "decayed_0.85", "decayed_0.95", "half_life_30d", "half_life_90d", "rate", "share_of_baskets",
        "share_of_own", "in_last_10", "baskets_since_first", "days_since_first", "like_small", "share_repeat",
        "rank_repeat",
    ),
    "category": ("category_decayed", "category_share", "category_since", "category_own_rebuy"),
    "brand": ("brand_share",),
    "rebought": (
        "baskets_per_buyer", "rebuy_rate", "item_gap_days", "item_gap_baskets", "hazard_next", "category_rebuy_rate",
    ),
    "popular": ("popular_", "log_baskets", "share_popular", "rank_popular"),
    "trend": ("trend", "trend_short"),
    "price": ("price_to_usual",),
    "promotion": ("price_lately", "member_discount"),
    "people": ("attribute_lift",),
}  # fmt: skip


def cause_of(feature: str) -> str:
    """Return the cause that a feature speaks for: a family of features, else the source that said it, else `REST`."""
    for cause, names in _CAUSES.items():
        if any(feature == name or (name.endswith("_") and feature.startswith(name)) for name in names):
            return cause
    for prefix in ("share_", "rank_"):
        if feature.startswith(prefix):
            return feature.removeprefix(prefix)
    source, is_aspect, _ = feature.partition(".")
    return source if is_aspect else REST


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why a ranker placed an item where it did.

    Attributes
    ----------
    causes : tuple of str
        What raised its score, the strongest first; what lowered it is left out.
    known : mapping of str to float
        The features of the item for this customer, by name, NaN where nothing is known; and, of an item the release
        knows, its `buyers` and those of them who bought it again (`rebuyers`), counted.
    """

    causes: tuple[str, ...]
    known: Mapping[str, float]


@dataclass(frozen=True, eq=False, slots=True)
class PathTable:
    """What each leaf of a forest owes to each cause.

    Attributes
    ----------
    causes : tuple of str
    added : float64 [n_leaves, n_causes]
        Of all trees, one after the other.
    first : int64 [n_trees]
        Row of each tree's leaf 0.
    base : float
        Sum of the roots' values: the score before anything is looked at.
    """

    causes: tuple[str, ...]
    added: Float64s
    first: Int64s
    base: float

    def of(self, leaves: Int32s) -> Float64s:
        """Sum the causes of some rows from their leaves [n, n_trees]: float64 [n, n_causes]; with `base` the score."""
        found: Float64s = self.added[leaves + self.first].sum(axis=1)
        return found


def read_paths(trees: Sequence[Mapping[str, Any]], features: Sequence[str]) -> PathTable:
    """Walk every path of a forest once; `trees` are the roots of LightGBM's dump, in order."""
    named = [cause_of(name) for name in features]
    causes = tuple(dict.fromkeys(named))
    column = [causes.index(cause) for cause in named]
    rows: list[Float64s] = []
    first, base = np.zeros(len(trees), np.int64), 0.0
    for number, root in enumerate(trees):
        first[number] = len(rows)
        base += _value(root)
        rows += [added for _, added in sorted(_leaves(root, column, np.zeros(len(causes))), key=lambda leaf: leaf[0])]
    return PathTable(causes, np.array(rows).reshape(len(rows), len(causes)), first, base)


def _value(node: Mapping[str, Any]) -> float:
    return float(node["leaf_value"] if "leaf_value" in node else node["internal_value"])


def _leaves(
    node: Mapping[str, Any], column: Sequence[int], added: Float64s
) -> Iterator[tuple[int, Float64s]]:  # fmt: skip
    """Yield (leaf number, what its path adds to each cause)."""
    if "leaf_value" in node:
        yield int(node.get("leaf_index", 0)), added  # a tree without a split has one leaf and no number
        return
    for side in ("left_child", "right_child"):
        child = node[side]
        further = added.copy()
        further[column[node["split_feature"]]] += _value(child) - _value(node)
        yield from _leaves(child, column, further)
