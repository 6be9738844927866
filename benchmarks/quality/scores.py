"""Per-customer figures of ranked lists and their bootstrap, as the shared scorers `nbr` and `topn` define them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Lists = Mapping[str, Sequence[int | str]]
Scores = dict[str, npt.NDArray[np.float64]]
DRAWS = 2000
AGREES_TO = 2e-5  # `topn` rounds to five digits


def customer_scores(truth: Lists, lists: Lists, lengths: Sequence[int], *, cut_ideal: bool) -> Scores:
    """Return recall, ndcg and phr at each length, one value for each customer of `truth` in its order.

    Parameters
    ----------
    cut_ideal : bool
        True: the ideal list is cut at k (`topn`); False: it holds the whole truth (`nbr`, Li et al., TOIS 2023).
    """
    discount = 1.0 / np.log2(np.arange(2, 5002))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    names = [f"{metric}@{k}" for k in lengths for metric in ("recall", "ndcg", "phr")]
    found = {name: np.zeros(len(truth)) for name in names}
    for row, (customer, wanted) in enumerate(truth.items()):
        items = set(wanted)
        hit = np.array([item in items for item in lists.get(customer, ())][: max(lengths)], np.float64)
        for k in lengths:
            top = hit[:k]
            best = ideal[min(k, len(wanted)) if cut_ideal else len(wanted)]
            found[f"recall@{k}"][row] = top.sum() / len(wanted)
            found[f"ndcg@{k}"][row] = top @ discount[: len(top)] / best
            found[f"phr@{k}"][row] = top.any()
    return found


def checked_scores(scores: Scores, figures: Mapping[str, float]) -> Scores:
    """Return the scores when their means are the scorer's figures; else the interval would be of something else."""
    for name, values in scores.items():
        if name in figures and abs(values.mean() - figures[name]) > AGREES_TO:
            raise SystemExit(f"{name}: the scorer says {figures[name]}, per-customer figures {values.mean():.6f}.")
    return scores


def paired_intervals(one: Scores, other: Scores, seed: int = 0) -> dict[str, list[float]]:
    """Return mean difference and its 95 % customer bootstrap by metric: [difference, low, high]."""
    intervals = {}
    for name in one:
        difference = one[name] - other[name]
        rng = np.random.default_rng(seed)  # the same customers drawn for every metric
        means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(DRAWS)]
        low, high = np.quantile(means, (0.025, 0.975))
        intervals[name] = [round(float(x), 5) for x in (difference.mean(), low, high)]
    return intervals
