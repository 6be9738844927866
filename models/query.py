"""`Query`: all that is known when a source is asked, and `Candidates`: what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from features.arrays import Float32s, Int32s
from features.columns import ItemKind
from features.history import DAY_US, EMPTY, History

NO_ITEMS: Final = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Query:
    """One question to the sources; everything in it lies strictly before `at`.

    Attributes
    ----------
    at : int
        When the customer stands before us, UTC µs.
    moment : int
        `at` floored to the shop's day (`features.clock.quietest_hour`), UTC µs: the clock of every model; an answer
        holds for the day.
    customer_idx : int
        Dense index in the release, -1 for a stranger.
    history : History
        The customer's product events before `at`: the release's long history and the live tail.
    seeds : int32 [n]
        Items to start from instead of the history (scenes `similar` and `cart`); when not empty they replace it.
    attributes : mapping
        Customer attributes by name, as texts (region, tier, gender …).
    learned_until : int or None
        UTC µs; what the models know of everybody lies strictly before. None: up to the question.
    contents, bundles : History
        What the customer did with contents and with bundles before `at`; items in the indexes of those kinds.
    shown : mapping of ItemKind to History
        Impressions that came after the release, by kind of item.
    person : tuple of int
        His customers of the release, `customer_idx` first; empty for a stranger.
    channel : str
        Where the answer is shown; empty: not said.
    """

    at: int
    moment: int
    customer_idx: int = -1
    history: History = EMPTY
    seeds: Int32s = field(default_factory=lambda: NO_ITEMS)
    attributes: Mapping[str, str] = field(default_factory=dict)
    learned_until: int | None = None
    contents: History = EMPTY
    bundles: History = EMPTY
    channel: str = ""
    shown: Mapping[ItemKind, History] = field(default_factory=dict)
    person: tuple[int, ...] = ()

    def of(self, kind: ItemKind) -> History:
        """Return what the customer did with items of a kind."""
        return {ItemKind.product: self.history, ItemKind.content: self.contents, ItemKind.bundle: self.bundles}[kind]

    @property
    def learned_days_ago(self) -> float:
        """Days between what the models have learned from and the question: at least 0."""
        return 0.0 if self.learned_until is None else max(self.at - self.learned_until, 0) / DAY_US


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items with scores, best first (ties by item index), no duplicates.

    Attributes
    ----------
    item_idx : int32 [n]
    score : float32 [n]
        Comparable within one answer of one source only; finite.
    """

    item_idx: Int32s
    score: Float32s

    def __len__(self) -> int:
        return len(self.item_idx)


NOTHING: Final = Candidates(NO_ITEMS, np.empty(0, np.float32))


def top_candidates(item_idx: Int32s, score: Float32s, limit: int) -> Candidates:
    """Return the `limit` best of some distinct items with finite positive-evidence scores, ties by item index."""
    if limit < len(item_idx):
        # The cut keeps every tie of the last score, so that the order by index decides, not the partition.
        least = np.partition(score, len(score) - limit)[len(score) - limit]
        keep = score >= least
        item_idx, score = item_idx[keep], score[keep]
    order = np.lexsort((item_idx, -score))[:limit]
    return Candidates(item_idx[order].astype(np.int32), score[order].astype(np.float32))


def top_of_dense(score: Float32s, limit: int) -> Candidates:
    """Return the `limit` best of a dense score vector [n_items]; entries that are NaN or ≤ 0 are no candidates."""
    item_idx = np.flatnonzero(score > 0).astype(np.int32)
    return top_candidates(item_idx, score[item_idx], limit)
