"""Where bundles start from: products that are asked about, a basket, a theme, a customer, or what many buy."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from features.arrays import Float32s, Int32s
from models.bundles.model import BundleModel
from models.bundles.offers import Admission
from models.bundles.scenarios import Scenario, belongs
from models.bundles.space import ProductSpace
from models.bundles.wishes import MOST_PARTS
from models.items import ItemTable
from models.query import NO_ITEMS
from models.recommenders.evidence import EvidenceConfig, read_profile
from models.slate import Request

CONTEXT: Final = 20  # of a basket or of what was just bought: the latest
THEME_PRODUCTS: Final = 40
SHARE_OF_WEIGHT: Final = 0.5  # how much of a start's weight counts: the rest is the bundle's own


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """One place to start from.

    Attributes
    ----------
    fixed : int32 [n]
        Parts of every bundle.
    context : int32 [n]
        What the parts shall go with and not be: the basket, what was just bought.
    weight : float
        How much the customer is about it, 0 … 1.
    scenario : Scenario or None
        The shop's rule that says what is added.
    """

    fixed: Int32s
    context: Int32s = field(default_factory=lambda: NO_ITEMS)
    weight: float = 1.0
    scenario: Scenario | None = None

    @property
    def anchors(self) -> Int32s:
        """All that speaks for parts."""
        return np.concatenate([self.fixed, self.context])


@dataclass(frozen=True, eq=False, slots=True)
class Starter:
    """Finds where to start for one request."""

    model: BundleModel
    space: ProductSpace
    request: Request
    items: ItemTable
    admission: Admission

    @property
    def is_about_something(self) -> bool:
        """Whether the caller says what the bundles shall be about."""
        wishes = self.request.bundle
        return bool(wishes.item_ids or wishes.theme or len(self.request.basket))

    def starts(self) -> list[Start]:
        """Return where to start, the shop's rules before what was counted."""
        wishes, items = self.request.bundle, self.items
        if wishes.item_ids:
            found = self._around(items.idxs(wishes.item_ids))
        elif len(self.request.basket):
            found = [Start(NO_ITEMS, self.request.basket[-CONTEXT:])]
        elif wishes.theme:
            return self._of_theme(wishes.theme)
        else:
            found = self._of_customer() or self.openers()
        return [*self._with_rules(found), *found]

    def openers(self) -> list[Start]:
        """Return starts that are nobody's own: what many buy and what pulls strongest."""
        n = self.model.config.starts
        free = self.model.pairs.openers
        return [Start(np.array([i], np.int32)) for i in free[self.admission.of(free)][:n]]

    def _around(self, named: Int32s) -> list[Start]:
        may = self.admission.of(named)
        owned = named[np.isin(named, np.concatenate([self.admission.just_bought, self.request.basket]))]
        fixed = named[may][: MOST_PARTS - 1]
        context = np.concatenate([owned, self.request.basket])
        return [Start(fixed, np.unique(context)[-CONTEXT:])] if len(fixed) or len(context) else []

    def _of_customer(self) -> list[Start]:
        """Start from what he wants and has not just bought, and from what goes with what he has."""
        item_idx, weight = self._profile()
        may = self.admission.of(item_idx)
        order = np.lexsort((item_idx[may], -weight[may]))[: self.model.config.starts]
        own, heavy = item_idx[may][order], weight[may][order]
        most = float(heavy.max()) if len(heavy) else 1.0
        found = [
            Start(np.array([i], np.int32), weight=1 - SHARE_OF_WEIGHT * (1 - float(w) / most))
            for i, w in zip(own.tolist(), heavy.tolist(), strict=True)
        ]
        bought = self.admission.just_bought[-CONTEXT:]
        return [*found, Start(NO_ITEMS, bought)] if len(bought) else found

    def _profile(self) -> tuple[Int32s, Float32s]:
        query, config = replace(self.request.query, seeds=NO_ITEMS), self.model.config
        return read_profile(query, EvidenceConfig(), config.half_life_days, len(self.items), 10 * config.starts)

    def _of_theme(self, theme: str) -> list[Start]:
        rules = [rule for rule in self.model.config.scenarios if theme.casefold() in (rule.theme, rule.name)]
        found = [start for rule in rules for start in self._of_rule(rule)]
        about = self._about(theme)
        best = about[self.admission.of(about)][: self.model.config.starts]
        return [*found, *(Start(np.array([i], np.int32)) for i in best.tolist())]

    def _about(self, theme: str) -> Int32s:
        """Products that a theme is about: in a category of that name, else by their words; the best sold first."""
        name = theme.casefold()
        named = [name in path.casefold().split("/") for path in self.items.paths]
        inside = np.flatnonzero(np.array([*named, False], np.bool_)[self.items.category]).astype(np.int32)
        if not len(inside):
            inside = self.space.about(theme, THEME_PRODUCTS)
        return self._best_sold(inside)[:THEME_PRODUCTS]

    def _of_rule(self, rule: Scenario) -> list[Start]:
        every = np.arange(len(self.items), dtype=np.int32)
        inside = every[belongs(every, rule.when, self.items)]
        best = self._best_sold(inside[self.admission.of(inside)])[: self.model.config.starts]
        return [Start(np.array([i], np.int32), scenario=rule) for i in best.tolist()]

    def _best_sold(self, item_idx: Int32s) -> Int32s:
        share = np.zeros(len(item_idx))
        known = item_idx < len(self.model.pairs.share)
        share[known] = self.model.pairs.share[item_idx[known]]
        return item_idx[np.lexsort((item_idx, -share))]

    def _with_rules(self, starts: Iterable[Start]) -> list[Start]:
        rules: tuple[Scenario, ...] = self.model.config.scenarios
        return [
            replace(start, scenario=rule)
            for start in starts
            for rule in rules
            if belongs(start.anchors, rule.when, self.items).any()
        ]
