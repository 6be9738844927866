"""The order of what may complete a basket: learned where that is worth it, else a rule."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from features.arrays import Bools, Float32s, Float64s
from models.completion.signals import SIGNALS
from models.rank.ranker import Forests, RankerConfig, RankingRows, grow_forests

RISING: Final = frozenset({"title", "text", "walk", "bundled", "own"})
RULE: Final = {"walk": 1.0, "bundled": 0.5, "text": 0.3, "title": 0.3, "own": 0.3}
RULE_OFFSET: Final = 10.0
JUDGED: Final = 0.2  # of the lessons, the latest, that the order learned from the others is judged on


def by_rule(matrix: Float32s) -> Float64s:
    """Add up reciprocal ranks of a few signals, brought to mean 0 and deviation 1: float64 [n]."""
    total = np.zeros(len(matrix))
    for name, weight in RULE.items():
        value = matrix[:, SIGNALS.index(name)]
        place = np.empty(len(value))
        place[np.argsort(-value, kind="stable")] = np.arange(len(value))
        total += np.where(value > 0, weight / (RULE_OFFSET + place), 0.0)
    standardized: Float64s = (total - total.mean()) / max(float(total.std()), 1e-9)
    return standardized


def learn_order(lessons: RankingRows, config: RankerConfig, seed: int) -> tuple[Forests, str]:
    """Learn to order, and judge on the latest lessons what is learned from those before.

    Returns the forests, none where there is too little to learn from or the rule is as good, and a word on it.
    """
    none, n = Forests((), ()), len(lessons.sizes)
    if n < config.least_questions:
        return none, f"{n} lessons, fewer than {config.least_questions}: a rule orders what completes a basket"
    edge = n - max(int(n * JUDGED), 1)
    before = grow_forests(lessons.of(slice(0, edge)), SIGNALS, config, seed, RISING)
    latest = list(_questions(lessons.of(slice(edge, n))))
    learned, rule = (
        float(np.mean([_reciprocal_rank(order(matrix), wanted) for matrix, wanted in latest]))
        for order in (lambda matrix: before.ordered(matrix)[0], by_rule)
    )
    told = f"mean reciprocal rank on the latest {len(latest)} of {n} lessons: learned {learned:.3f}, rule {rule:.3f}"
    if learned <= rule:
        return none, f"{told}; the learned order is no better than the rule and is left out"
    return grow_forests(lessons, SIGNALS, config, seed, RISING), told


def _questions(rows: RankingRows) -> Iterator[tuple[Float32s, Bools]]:
    ends = np.cumsum(rows.sizes)
    for start, end in zip(ends - rows.sizes, ends, strict=True):
        yield rows.matrix[start:end], rows.wanted[start:end]


def _reciprocal_rank(score: Float64s, wanted: Bools) -> float:
    """Of what is wanted, ties against it."""
    return 1.0 / int((score >= score[wanted].max()).sum())
