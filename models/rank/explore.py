"""Exploration: the last positions of a slate drawn by chance with known propensities (DESIGN §4, step 7)."""

from dataclasses import dataclass

import numpy as np

from features.arrays import Float32s, Float64s, Int32s


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
