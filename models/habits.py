"""Which kinds (categories, brands) a customer buys often, counted in the history that he could count himself."""

from collections.abc import Callable
from typing import Final

import numpy as np

from features.history import History

# "Often" must hold however he counts: at least every fifth thing he buys and in every fourth of his baskets, so that
# neither one big basket nor one line in each of many long ones makes it so; three times, as twice may be chance.
BASKETS: Final = 3
OF_PURCHASES: Final = 0.2
OF_BASKETS: Final = 0.25
# And it must be clearly among his first: two kinds at most stand in more baskets, and none in over twice as many.
BEFORE_IT: Final = 2
OF_THE_FIRST: Final = 0.5


def is_habit(history: History, kind_of: Callable[[int], str], kind: str) -> bool:
    """Whether a customer often buys a kind.

    `kind_of` names the kind of an item, "" where it has none. A line is an item in a basket, however many of it.
    """
    bought = history.purchases
    n_baskets = len(np.unique(bought.order_idx))
    bought = bought.where(bought.item_idx >= 0)
    items, place = np.unique(bought.item_idx, return_inverse=True)
    names = [kind_of(int(item)) for item in items]
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    if not kind or kind not in codes:
        return False
    lines = np.unique(bought.order_idx.astype(np.int64) * len(items) + place)
    basket, code = lines // len(items), np.array([codes[name] for name in names])[lines % len(items)]
    shared = np.unique(basket * len(codes) + code)
    baskets = np.bincount(shared % len(codes), minlength=len(codes))
    if "" in codes:
        baskets[codes[""]] = 0
    mine = int(baskets[codes[kind]])
    often = mine >= max(BASKETS, OF_BASKETS * n_baskets) and (code == codes[kind]).mean() >= OF_PURCHASES
    return bool(often and (baskets > mine).sum() <= BEFORE_IT and mine >= OF_THE_FIRST * baskets.max())
