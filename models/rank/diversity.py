"""Diversity: a further item of a category or brand already shown counts less."""

from collections.abc import Sequence

import numpy as np

from features.arrays import Float32s, Int32s


def diversified(score: Float32s, groups: Sequence[tuple[Int32s, float]], k: int, window: int = 0) -> Int32s:
    """Choose up to k positions greedily, each item's score weighted by decay ** (picks of its group so far).

    With several groupings (category, brand) the weights multiply: maximal marginal relevance (Carbonell and Goldstein
    1998) with likeness counted by group and subtracted in the exponent.

    Parameters
    ----------
    score : float32 [n]
        Positive, best first.
    groups : sequence of (int32 [n], float)
        Group of each item, -1 where unknown (unlike everything), and its decay in (0, 1]; 1 keeps the order.
    window : int
        Only the last so many picks count; 0: all of them.

    Returns
    -------
    int32 [min(k, n)]
        Positions in the order of choice. Cost O(k · n).
    """
    at_work = [(group, decay) for group, decay in groups if decay < 1]
    chosen = np.arange(min(k, len(score)), dtype=np.int32)
    if not at_work:
        return chosen
    left = score.astype(np.float64)
    weight = np.ones(len(score))
    for place in range(len(chosen)):
        chosen[place] = best = int(np.argmax(left * weight))
        left[best] = -np.inf
        for group, decay in at_work:
            if group[best] >= 0:
                weight[group == group[best]] *= decay
            if window and place >= window and group[gone := chosen[place - window]] >= 0:
                weight[group == group[gone]] /= decay
    return chosen
