"""The shelf of bundles: which offers of several products are made to whom (PRODUCT.md, W2).

The shop's own bundles and those put together for the answer pass the same admission and keep the same terms; then they
stand in one list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Self

import numpy as np

from features.columns import ItemKind
from models.bundles.curated import Curator
from models.bundles.generate import Generator
from models.bundles.links import LinkFinder
from models.bundles.model import BundleModel
from models.bundles.offers import Admission, Offer
from models.bundles.space import ProductSpace
from models.bundles.starts import Start, Starter
from models.bundles.table import BundleTable
from models.bundles.terms import Terms
from models.bundles.told import Teller
from models.catalogued import LiveIds
from models.items import ItemTable
from models.query import NO_ITEMS
from models.reasons import reason
from models.slate import Pick, Request, Slate
from models.steering import Steering

FALLBACK: Final = "fallback:"
SPARE: Final = 10  # bundles made beyond those that are asked for: some repeat the shop's own or are not wanted


@dataclass(frozen=True, eq=False)
class BundleShelf:
    """What a release knows of bundles, the bundles as they are now, and where products lie."""

    model: BundleModel
    table: BundleTable
    space: ProductSpace = field(default_factory=lambda: ProductSpace.of({}))

    @property
    def kind(self) -> ItemKind:
        """What it shows."""
        return ItemKind.bundle

    @property
    def ids(self) -> LiveIds:
        """The bundles' ids."""
        return self.table.ids

    def with_changes(self, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Return the shelf after catalogue changes."""
        return replace(self, table=self.table.with_changes(rows))

    def recommend(self, request: Request, items: ItemTable) -> Slate:
        """Answer with the shop's bundles and with bundles made for the answer; what falls short is said."""
        return _Answer(self, request, items).slate()


@dataclass(frozen=True, eq=False)
class _Answer:
    """One answer in the making."""

    shelf: BundleShelf
    request: Request
    items: ItemTable

    def slate(self) -> Slate:
        k, said, causes = self.request.k, self._asked_in_vain(), list[str]()
        offers = self._asked(k)
        if len(offers) < k:
            more = self._others(k - len(offers), offers)
            if more and self._starter.is_about_something:
                causes.append("filled with bundles that nobody asked about")
                said.append(f"only {len(offers)} of {k} bundles found for what was asked about; filled with others")
                more = [replace(one, stage=FALLBACK + one.stage) for one in more]
            offers += more
        if len(offers) < k:
            causes.append(f"shorter than asked: no more bundles may be shown{self._terms_said()}")
            said.append(f"only {len(offers)} of {k} places filled: no more bundles may be shown{self._terms_said()}")
        return Slate(tuple(_pick(offer) for offer in _comparable(offers)), tuple(said), tuple(causes))

    def _asked(self, k: int) -> list[Offer]:
        """Return pins, then the shop's bundles and those put together, for what was asked about: at most k."""
        pins = self._pinned
        there = {offer.item_idx for offer in pins}
        own = [one for one in self._curator(self.request).offers(k + len(there)) if one.item_idx not in there]
        is_blend = self.request.bundle.generated == "blend"
        missing = k - len(pins) - (0 if is_blend else len(own))
        made = self._made(self._starter.starts(), missing, (*pins, *own)) if missing > 0 else []
        return [*pins, *(_blended(own, made) if is_blend else [*own, *made])][:k]

    def _others(self, n: int, beside: Sequence[Offer]) -> list[Offer]:
        """Return n bundles that are about nothing in particular: the shop's, then what many buy together."""
        plain = replace(self.request, basket=NO_ITEMS, bundle=replace(self.request.bundle, item_ids=(), theme=""))
        there = {frozenset(offer.details.parts) for offer in beside}
        own = self._curator(plain).offers(n + len(there)) if self._starter.is_about_something else []
        own = [one for one in own if frozenset(one.details.parts) not in there][:n]
        return [*own, *self._made(self._starter.openers(), n - len(own), (*beside, *own))]

    @cached_property
    def _admission(self) -> Admission:
        return Admission(self.request, self.items, self.shelf.model.just_bought_days)

    @cached_property
    def _terms(self) -> Terms:
        return Terms.of(self.request, self.items, self.shelf.model.config)

    @cached_property
    def _finder(self) -> LinkFinder:
        model = self.shelf.model
        return LinkFinder(model.pairs, self.shelf.space, self.items, model.config.pairs.prior, model.config.closeness)

    @cached_property
    def _starter(self) -> Starter:
        return Starter(self.shelf.model, self.shelf.space, self.request, self.items, self._admission)

    def _curator(self, request: Request) -> Curator:
        shelf = self.shelf
        return Curator(shelf.model, shelf.table, self._finder, request, self.items, self._admission, self._terms)

    @property
    def _pinned(self) -> list[Offer]:
        curator = self._curator(self.request)
        found = (curator.offer(int(i), 0.0, "pin") for i in self.request.pins[: self.request.k])
        return [replace(offer, reason=reason("pinned")) for offer in found if offer is not None]

    def _made(self, starts: Sequence[Start], n: int, beside: Sequence[Offer]) -> list[Offer]:
        """Make up to n bundles that are none of those beside them, and that the caller's filters let through."""
        shelf, request = self.shelf, self.request
        generator = Generator(shelf.model, self._finder, request, self.items, self._admission, self._terms)
        teller = Teller(shelf.model.pairs, self.items, self._terms.discount)
        there = {frozenset(offer.details.parts) for offer in beside}
        sets = [one for one in (generator.sets(starts, n + SPARE) if starts else ()) if one.parts not in there]
        offers = [teller.offer(made) for made in sets]
        unwanted = request.bundle.exclude
        found = [one for one in offers if one.item_id not in unwanted and self._admission.affords(one.details.price)]
        return _obeying(request.steering, found)[:n]

    def _asked_in_vain(self) -> list[str]:
        """Name what bundles were asked around and cannot be."""
        named = self.request.bundle.item_ids
        unknown = [name for name in named if self.items.idx(name) < 0]
        known = self.items.idxs(named)
        hidden = [self.items.text(i) for i in known[~self.items.showable(known, self.request.query.at)].tolist()]
        said = [f"not in the catalogue: {', '.join(unknown)}"] if unknown else []
        return [*said, f"not to be sold now: {', '.join(hidden)}"] if hidden else said

    def _terms_said(self) -> str:
        terms = self._terms
        limits = {"size_min": terms.size_min, "size_max": terms.size_max, "target_price": terms.target_price,
                  "spend_threshold": terms.reach, "margin_floor": terms.margin_floor}  # fmt: skip
        named = [name for name, value in limits.items() if value is not None]
        return f" that keep {', '.join(named)}" if named else ""


def _comparable(offers: Sequence[Offer]) -> list[Offer]:
    """Return the offers with scores that compare: by their places, where two ways of making stand in one list."""
    if len({offer.item_idx < 0 for offer in offers}) < 2:
        return list(offers)
    return [replace(offer, worth=1.0 / (1 + place)) for place, offer in enumerate(offers)]


def _pick(offer: Offer) -> Pick:
    score = 0.0 if offer.stage == "pin" or offer.stage.startswith(FALLBACK) else offer.worth
    return Pick(
        offer.item_idx, score, offer.stage, offer.reason, kind=ItemKind.bundle, item_id=offer.item_id,
        bundle=offer.details,
    )  # fmt: skip


def _obeying(steering: Steering, made: Sequence[Offer]) -> list[Offer]:
    """Return what the operators' rules allow of bundles that have no index, and in their order."""
    if not steering.rules:
        return list(made)
    place = {offer.item_id: at for at, offer in enumerate(made)}
    here = replace(
        steering, idxs=lambda ids: np.array([place[one] for one in ids if one in place], np.int32),
        products_of=lambda at: np.array(made[at].details.parts, np.int32),
    )  # fmt: skip
    every = np.arange(len(made), dtype=np.int32)
    every = every[here.allows(every)]
    falling = np.arange(len(every), 0, -1).astype(np.float32)
    return [made[i] for i in every[np.argsort(-here.weighed(every, falling), kind="stable")].tolist()]


def _blended(own: Sequence[Offer], made: Sequence[Offer]) -> list[Offer]:
    """Put two lists into one: nearest to the aim first, then by place in its own list, the shop's first."""
    key: Callable[[tuple[int, int, Offer]], tuple[int, int, int]] = lambda one: (one[2].distance, one[0], one[1])  # noqa: E731
    places = [(place, side, offer) for side, half in enumerate((own, made)) for place, offer in enumerate(half)]
    return [offer for *_, offer in sorted(places, key=key)]
