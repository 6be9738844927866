"""Bundles put together for one answer: candidates around each start, then the best sets of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.arrays import Bools, Float64s, Int32s, Int64s
from features.text import split_words
from models.bundles.assembly import MOST_FREE, Assembled, Choice, Limits, assemble
from models.bundles.links import LinkFinder, Links
from models.bundles.model import BundleModel
from models.bundles.offers import Admission
from models.bundles.scenarios import Scenario, belongs
from models.bundles.starts import Start
from models.bundles.terms import Terms
from models.bundles.wishes import MOST_PARTS
from models.items import ItemTable
from models.slate import Request

USUAL_PARTS: Final = 3
SETS: Final = 12  # of each start, or more where there are few starts
STRONG: Final = 16  # candidates by pull; the rest of `MOST_FREE` by what they bring to a price that is aimed at
AGAIN: Final = 0.1  # what a bundle counts whose kinds of product were all shown once above it
MOST_TRIED: Final = 150  # candidates that are compared with the basket, the strongest
UNSOLD: Final = 1e-3  # of the strongest pull: what the best sold counts in a role that nothing pulls to


@dataclass(frozen=True, eq=False, slots=True)
class Ground:
    """What the sets of one start were chosen from.

    Attributes
    ----------
    item_idx : int32 [n]
        The start's fixed parts, then the candidates.
    roles : int64 [n]
        Bits of the scenario's roles that each fills.
    links : Links
        From all of the start's anchors to the candidates alone.
    scale : float
        What a pull of 1 is worth, comparable among starts.
    """

    start: Start
    item_idx: Int32s
    roles: Int64s
    links: Links
    scale: float


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """One set: all its parts, how good it is, and whether it is a rule's best: what the shop says goes first."""

    ground: Ground
    assembled: Assembled
    parts: frozenset[int]
    worth: float
    leads: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Generator:
    """Makes bundles for one request."""

    model: BundleModel
    finder: LinkFinder
    request: Request
    items: ItemTable
    admission: Admission
    terms: Terms

    def sets(self, starts: Sequence[Start], n: int) -> list[Made]:
        """Return up to n different bundles, the best first."""
        found: dict[frozenset[int], Made] = {}
        led: set[str] = set()
        for start in starts:
            for place, made in enumerate(self._from(start, max(SETS, 3 * n // len(starts)))):
                if place == 0 and start.scenario is not None and start.scenario.name not in led:
                    led.add(start.scenario.name)
                    found[made.parts] = replace(made, leads=True)
                known = found.get(made.parts)
                if known is None or (made.worth > known.worth and not known.leads):
                    found[made.parts] = made
        return _varied(list(found.values()), n, self.items)

    def _from(self, start: Start, n_best: int) -> list[Made]:
        free, roles = self._candidates(start)
        item_idx, n_fixed = np.concatenate([start.fixed, free]), len(start.fixed)
        links = self.finder.links(start.anchors, free)
        pull, scale = self._pull(start, free, links)
        between, n = self.finder.links(free, free).pull, len(item_idx)
        grown = np.zeros((n, n))
        grown[n_fixed:, n_fixed:] = np.minimum((between + between.T) / 2 / scale, 1.0)
        bits = np.append(np.zeros(n_fixed, np.int64), roles)
        choice = Choice(
            np.round(self.items.price[item_idx].astype(np.float64), 2), self.items.cost[item_idx].astype(np.float64),
            np.append(np.zeros(n_fixed), pull / scale), grown, self._alike(item_idx, bits), bits, n_fixed,
        )  # fmt: skip
        limits = self._limits(start)
        # What a single product says: a basket of twenty must not outvote the one that a customer is about.
        ground = Ground(start, item_idx, bits, links, float(links.pull.max(initial=0.0)) or UNSOLD)
        return [_made(ground, one, limits.least_pull) for one in assemble(choice, limits, n_best)]

    def _pull(self, start: Start, free: Int32s, links: Links) -> tuple[Float64s, float]:
        pull = links.pull.sum(axis=0)
        strongest = float(pull.max(initial=0.0))
        scale = strongest if strongest > 0 else UNSOLD
        if start.scenario is not None:  # a rule holds without a sale: then what sells best fills the role
            share = self.finder.shares(free)
            pull = pull + UNSOLD * scale * share / max(float(share.max(initial=0.0)), 1e-9)
        return pull, scale

    def _limits(self, start: Start) -> Limits:
        terms, config = self.terms, self.model.config
        roles = start.scenario.roles if start.scenario else ()
        usual = max(USUAL_PARTS if terms.aim is None else MOST_PARTS, len(start.fixed) + max(len(roles), 1))
        few = terms.size_min or (1 if len(self.request.basket) and not len(start.fixed) else 2)
        return Limits(
            few, terms.size_max or min(max(usual, few), MOST_PARTS), terms.target_price, terms.reach, terms.discount,
            terms.margin_floor, sum(1 << bit for bit, role in enumerate(roles) if not role.optional),
            least_pull=0.0 if start.scenario else config.least_pull, together=config.together,
        )  # fmt: skip

    def _candidates(self, start: Start) -> tuple[Int32s, Int64s]:
        """Return what may be added, at most `MOST_FREE`, and the roles that each fills."""
        if start.scenario is not None:
            return self._for_roles(start, start.scenario)
        free = self._may_join(start, self.finder.reached(start.anchors))
        pull = self.finder.links(start.anchors, free).pull.sum(axis=0)
        free, pull = free[pull > 0], pull[pull > 0]
        order = np.lexsort((free, -pull))
        if len(start.context):
            order = order[:MOST_TRIED]
            order = order[self._apart(start, free[order])]
        kept = order[:STRONG]
        if self.terms.aim is not None:  # near to a price come sets of dear parts too
            rest, price = order[STRONG:], np.nan_to_num(self.items.price[free].astype(np.float64))
            price[price > self.terms.aim] = 0.0
            half = (MOST_FREE - STRONG) // 2
            kept = np.append(kept, rest[np.lexsort((free[rest], -pull[rest] * price[rest]))][:half])
            rest = order[~np.isin(order, kept)]
            kept = np.append(kept, rest[np.lexsort((free[rest], -price[rest]))][:half])
        return free[kept], np.zeros(len(kept), np.int64)

    def _for_roles(self, start: Start, scenario: Scenario) -> tuple[Int32s, Int64s]:
        every = self._may_join(start, np.arange(len(self.items), dtype=np.int32))
        bits: dict[int, int] = {}
        for bit, role in enumerate(scenario.roles):
            fit = every[belongs(every, role.of, self.items)]
            pull = self.finder.links(start.anchors, fit).pull.sum(axis=0)
            best = fit[np.lexsort((fit, -self.finder.shares(fit), -pull))][: MOST_FREE // len(scenario.roles)]
            for item in best.tolist():
                bits[item] = bits.get(item, 0) | 1 << bit
        return np.fromiter(bits, np.int32, len(bits)), np.fromiter(bits.values(), np.int64, len(bits))

    def _may_join(self, start: Start, item_idx: Int32s) -> Int32s:
        item_idx = item_idx[~np.isin(item_idx, start.anchors)]
        return item_idx[self.admission.of(item_idx)]

    def _apart(self, start: Start, item_idx: Int32s) -> Bools:
        """Which products are no variants of what is in the basket or was just bought: bool [n]."""
        n = len(start.context)
        alike = self._alike(np.concatenate([start.context, item_idx]), np.zeros(n + len(item_idx), np.int64))
        apart: Bools = np.logical_not(np.logical_or.reduce(alike[:n, n:], axis=0))
        return apart

    def _alike(self, item_idx: Int32s, roles: Int64s) -> Bools:
        """Which products must not stand together: variants of each other, fillers of one role, one finest category."""
        category, items, config = self.items.category[item_idx], self.items, self.model.config
        other = item_idx[:, None] != item_idx[None]
        same = (category[:, None] == category[None]) & other
        fine = np.array([items.path(i).count("/") > 0 for i in item_idx.tolist()], np.bool_)
        alike: Bools = ((roles[:, None] & roles[None]) != 0) & other
        if not config.kinds_may_repeat:  # a scenario's roles say themselves what may stand together
            alike |= same & fine[:, None] & ~((roles[:, None] != 0) & (roles[None] != 0))
        words = [frozenset(split_words(items.titles[i])) for i in item_idx.tolist()]
        for a, b in zip(*np.nonzero(np.triu(same & ~alike)), strict=True):
            both = len(words[a] & words[b])
            if both and both >= config.alike_words * len(words[a] | words[b]):
                alike[a, b] = alike[b, a] = True
        return alike


def _made(ground: Ground, one: Assembled, least_pull: float) -> Made:
    n_fixed = len(ground.start.fixed)
    parts = ground.item_idx[list(one.members)].tolist()
    # Per added part, so that large bundles and small ones compare.
    mean = one.worth / max(len(parts) - n_fixed, 1) + least_pull
    return Made(ground, one, frozenset(parts), mean * ground.scale * ground.start.weight)


def _varied(found: list[Made], n: int, items: ItemTable) -> list[Made]:
    """Choose n, nearest to the aim and worthiest first; kinds of product that were shown above count less again."""
    ordered = sorted(found, key=lambda one: (one.assembled.distance, -one.worth, sorted(one.parts)))
    # A kind is a finest category; a product whose category says little is a kind of its own.
    kinds = [[items.path(i) if "/" in items.path(i) else str(i) for i in sorted(one.parts)] for one in ordered]
    left, chosen, shown = list(range(len(ordered))), list[Made](), Counter[str]()

    def place(i: int) -> tuple[int, bool, float]:
        again = sum(map(shown.__getitem__, kinds[i])) / len(kinds[i])
        return ordered[i].assembled.distance, not ordered[i].leads, -ordered[i].worth * AGAIN**again

    while left and len(chosen) < n:
        best = min(left, key=place)
        left.remove(best)
        chosen.append(ordered[best])
        shown.update(kinds[best])
    return chosen
