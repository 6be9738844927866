"""Diversity: a further item of a category already shown counts less."""

import numpy as np

from features.arrays import Float32s, Int32s


def diversified(score: Float32s, category: Int32s, k: int, decay: float) -> Int32s:
    """Choose up to k positions greedily, each item's score weighted by decay ** (picks of its category so far).

    Parameters
    ----------
    score : float32 [n]
        Positive, best first.
    category : int32 [n]
        -1 where unknown: such items are unlike everything.
    decay : float
        In (0, 1]; 1 keeps the order.

    Returns
    -------
    int32 [min(k, n)]
        Positions in the order of choice. Cost O(k · n).
    """
    if decay >= 1:
        return np.arange(min(k, len(score)), dtype=np.int32)
    left = score.astype(np.float64)
    chosen = np.empty(min(k, len(score)), np.int32)
    for place in range(len(chosen)):
        best = int(np.argmax(left))
        chosen[place] = best
        left[best] = -np.inf
        if category[best] >= 0:
            left[category == category[best]] *= decay
    return chosen
