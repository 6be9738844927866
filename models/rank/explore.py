"""Exploration: the last positions of a slate drawn by chance with known propensities (DESIGN §4, step 7)."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Float32s, Float64s, Int32s

EXPLORED_PLACES: Final = 2
POOL_PER_PLACE: Final = 10


@dataclass(frozen=True, slots=True)
class Drawn:
    """Positions drawn without replacement.

    Attributes
    ----------
    chosen : int32 [m]
        Indexes into the scores, in the order drawn.
    propensity : float64 [m]
        Probability of each draw given the draws before it; their product is the slate's own.
    """

    chosen: Int32s
    propensity: Float64s


def draw_plackett_luce(score: Float32s, m: int, rng: np.random.Generator) -> Drawn:
    """Draw m of n items one after the other, each with probability score / (sum of the scores left).

    Plackett–Luce (Plackett 1975): what is drawn from is exactly what is logged. `score` must be positive.
    """
    left = score.astype(np.float64)
    chosen = np.empty(min(m, len(left)), np.int32)
    propensity = np.empty(len(chosen), np.float64)
    for place in range(len(chosen)):
        share = left / left.sum()
        pick = int(rng.choice(len(share), p=share))
        chosen[place], propensity[place] = pick, share[pick]
        left[pick] = 0
    return Drawn(chosen, propensity)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows in the order of a slate: those that are sure, then those drawn, each with its propensity."""

    sure: Int32s
    drawn: Int32s
    propensity: tuple[float, ...]


def explored(order: Int32s, k: int, seed: int | None) -> Chosen:
    """Take the first k of some rows, best first; with a seed the last places are drawn by chance."""
    if seed is None:
        return Chosen(order[:k], order[:0], ())
    m = min(EXPLORED_PLACES, k)
    pool = order[k - m : k - m + POOL_PER_PLACE * m]
    # Ranks, not raw scores, weigh the draw: their scale is the same in every recipe.
    weight = (1.0 / (1.0 + np.arange(len(pool)))).astype(np.float32)
    drawn = draw_plackett_luce(weight, m, np.random.default_rng(seed))
    return Chosen(order[: k - m], pool[drawn.chosen], tuple(float(share) for share in drawn.propensity))
