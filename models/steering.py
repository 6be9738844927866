"""Rules at work in one answer: which items they allow, pin and weigh.

Rules speak of ids and categories; this is where they meet the catalogue as it is now.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Bools, Float32s, Float64s, Int32s
from models.items import ItemTable
from models.rules import Rule

WEIGHT_OFFSET: Final = 10.0  # c in factor / (c + place): how far a factor reaches


@dataclass(frozen=True, eq=False)
class Steering:
    """The rules that hold in one answer, for one kind of item.

    Attributes
    ----------
    rules : tuple of Rule
        All of this kind.
    idxs : callable
        Indexes of the known ones among ids: int32 [≤ n].
    products_of : callable or None
        Products (int32) that an item of another kind carries; None: the items are the products.
    items : ItemTable or None
        The products, by whose category and brand rules choose.
    """

    rules: tuple[Rule, ...] = ()
    idxs: Callable[[Sequence[str]], Int32s] | None = None
    items: ItemTable | None = None
    products_of: Callable[[int], Int32s] | None = None

    def allows(self, item_idx: Int32s) -> Bools:
        """Which of some items no rule forbids: bool [n]. Several `only` rules allow what any of them names."""
        keep = np.ones(len(item_idx), np.bool_)
        wanted: Bools | None = None
        for rule in self.rules:
            if rule.action == "exclude":
                keep &= ~self._named(rule, item_idx)
            elif rule.action == "only":
                wanted = self._named(rule, item_idx) | (False if wanted is None else wanted)
        return keep if wanted is None else keep & wanted

    @property
    def pins(self) -> Int32s:
        """Items that come first, in order: int32 [n]."""
        named = [item_id for rule in self.rules if rule.action == "pin" for item_id in rule.item_ids]
        return self.idxs(named) if self.idxs is not None and named else np.empty(0, np.int32)

    @property
    def weighs(self) -> bool:
        """Whether any rule moves items up or down."""
        return any(rule.weight != 1 for rule in self.rules)

    def factors(self, item_idx: Int32s) -> Float64s:
        """Return how much rules move some items: float64 [n], 1 for those of which none speaks."""
        factor: Float64s = np.ones(len(item_idx))
        for rule in self.rules:
            if rule.weight != 1:
                factor[self._named(rule, item_idx)] *= rule.weight
        return factor

    def weighed(self, item_idx: Int32s, score: Float32s) -> Float32s:
        """Return scores float32 [n] in which boosted items stand higher and buried ones lower.

        An item in place r, counted from 0 in the order of `score` (ties by index), gets factor / (10 + r): a factor
        means the same whatever a scene's scores look like. Without such rules the scores stay as they are; what may
        not be shown (-inf) stays so.
        """
        if not self.weighs:
            return score
        factor = self.factors(item_idx)
        place = np.empty(len(item_idx), np.int64)
        place[np.lexsort((item_idx, -score))] = np.arange(len(item_idx))
        moved = (factor / (WEIGHT_OFFSET + place)).astype(np.float32)
        return np.where(np.isfinite(score), moved, score).astype(np.float32)

    def _named(self, rule: Rule, item_idx: Int32s) -> Bools:
        named = np.ones(len(item_idx), np.bool_)
        if rule.item_ids and self.idxs is not None:
            named &= np.isin(item_idx, self.idxs(rule.item_ids))
        if not rule.category and not rule.brand:
            return named
        if self.items is None:
            return np.zeros(len(item_idx), np.bool_)
        if self.products_of is None:
            return named & _of_kind(rule, item_idx, self.items)
        carried = [self.products_of(int(i)) for i in item_idx]
        return named & np.array([bool(_of_kind(rule, found, self.items).any()) for found in carried], np.bool_)


def _of_kind(rule: Rule, product_idx: Int32s, items: ItemTable) -> Bools:
    fits = np.ones(len(product_idx), np.bool_)
    if rule.category:
        fits &= items.below(rule.category)[items.category[product_idx]]
    if rule.brand:
        fits &= np.array([items.brands[i] == rule.brand for i in product_idx], np.bool_)
    return fits


NO_STEERING: Final = Steering()
