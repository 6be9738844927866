"""Blending several sources' candidates by rank, where no learned ranker stands (or it has too little data)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from features.arrays import Bools, Float32s, Int32s, Int64s
from models.query import NO_ITEMS, Candidates


@dataclass(frozen=True, slots=True)
class Blend:
    """The union of some sources' candidates.

    Attributes
    ----------
    item_idx : int32 [n]
        Ascending, distinct.
    score : float32 [n]
    contribution : float32 [n_sources, n]
        What each source gave to each score; the largest names the stage of a pick.
    names : tuple of str
        The sources, rows of `contribution`.
    """

    item_idx: Int32s
    score: Float32s
    contribution: Float32s
    names: tuple[str, ...]

    def of(self, rows: Bools | Int64s) -> Self:
        """Return some of the items, chosen by a mask or by ascending row numbers."""
        return replace(
            self, item_idx=self.item_idx[rows], score=self.score[rows], contribution=self.contribution[:, rows]
        )

    def head(self, limit: int) -> Self:
        """Return the `limit` items of the greatest scores, ties by item index; still ascending in item."""
        if len(self.item_idx) <= limit:
            return self
        return self.of(np.sort(np.lexsort((self.item_idx, -self.score))[:limit]))


class LearnedBlend(BaseModel):
    """How a scene weighs its sources, learned from how they did lately; stands in a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, float]
    rank_offset: float


def blend_by_rank(found: Mapping[str, Candidates], weights: Mapping[str, float], offset: float) -> Blend:
    """Add up weight / (offset + rank) over the sources that found an item; rank 1 is the best.

    Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009, eq. 1), weighted: raw scores of different sources
    are not comparable, and refitting shifts them.
    """
    names = tuple(found)
    if not any(len(c) for c in found.values()):
        return Blend(NO_ITEMS, np.empty(0, np.float32), np.empty((len(names), 0), np.float32), names)
    item_idx = np.unique(np.concatenate([c.item_idx for c in found.values()])).astype(np.int32)
    contribution = np.zeros((len(names), len(item_idx)), np.float32)
    for row, name in enumerate(names):
        ranks = np.arange(1, len(found[name]) + 1)
        contribution[row, np.searchsorted(item_idx, found[name].item_idx)] = weights[name] / (offset + ranks)
    return Blend(item_idx, contribution.sum(axis=0), contribution, names)
