"""Everything that may be shown at one moment and what chooses among it: products, contents and bundles.

Evaluation, batch and service ask this one value: what serves is what was evaluated (DESIGN §1).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self, TypeAlias

import numpy as np

from features.arrays import Int32s
from features.columns import ItemKind
from features.history import EMPTY
from features.ids import IdMap
from models.arrivals import Arrivals, dated
from models.bundles.shelf import BundleShelf
from models.catalogued import LiveIds
from models.contents.shelf import ContentShelf
from models.fatigue import FatigueConfig, resting
from models.items import ItemTable
from models.pipeline import Pipeline
from models.query import NO_ITEMS, Query
from models.rank.mix import mixed
from models.rules import NO_RULES, Rule, RuleBook
from models.slate import Pick, Request, Slate
from models.steering import NO_STEERING, Steering

SHELF_SCENES: Final[Mapping[str, ItemKind]] = {"content": ItemKind.content, "bundles": ItemKind.bundle}
Rows = Sequence[Mapping[str, Any]]
Standing: TypeAlias = Callable[[Query], Mapping[str, str]]
PIN: Final = "pin"
NOTHING_SHOWN: Final = Slate((), ())


def unknown_standing(query: Query) -> Mapping[str, str]:  # noqa: ARG001 - there is nobody to look at
    """Return the standing of customers of whom nothing is known."""
    return {}


@dataclass(frozen=True, eq=False)
class Storefront:
    """The pipeline of products with the products as they are now, and the shelves of the other kinds of item.

    A change of the catalogue or of the operators' rules makes a new value.
    """

    pipeline: Pipeline
    items: ItemTable
    contents: ContentShelf
    bundles: BundleShelf
    fatigue: FatigueConfig = field(default_factory=FatigueConfig)
    rules: RuleBook = NO_RULES
    standing: Standing = unknown_standing

    @property
    def scenes(self) -> tuple[str, ...]:
        """Scenes that can be asked."""
        return (*self.pipeline.scenes, *SHELF_SCENES)

    def recommend(self, request: Request) -> Slate:
        """Answer a request in its scene, of one kind of item or mixed.

        An unknown scene is a `KeyError` for the caller to word.
        """
        kind = kind_of(request.scene)
        shares: Mapping[ItemKind, float] = {}
        if kind is ItemKind.product:
            recipe = request.recipe or self.pipeline.scenes[request.scene]
            shares = request.mix or {ItemKind[name]: share for name, share in recipe.mix.items()}
        wanted = {of: share for of, share in shares.items() if share > 0} or {kind: 1.0}
        asked = replace(request, query=self._standing(request.query, wanted))
        return self._of_kind(kind, asked) if wanted.keys() == {kind} else self._mixed(asked, wanted)

    def _standing(self, query: Query, kinds: Collection[ItemKind]) -> Query:
        """Tell the customer's stage and layer where something turns on them."""
        if not (self.rules.of_standings or (ItemKind.content in kinds and self.contents.table.of_stages)):
            return query
        return replace(query, attributes={**query.attributes, **self.standing(query)})

    def _of_kind(self, kind: ItemKind, request: Request) -> Slate:
        """Answer with items of one kind, under the rules that hold now, without what rests."""
        query = request.query
        rules = self.rules.holding(request.scene, query.channel, query.attributes, query.at)
        steering = self._steering(kind, rules)
        pins = np.concatenate([request.pins, np.setdiff1d(steering.pins, request.pins, assume_unique=True)])
        tired = resting(self.fatigue, query.of(kind), query.shown.get(kind, EMPTY), query.at)
        tired = np.setdiff1d(tired, pins)
        exclude = np.concatenate([request.exclude, tired]).astype(np.int32)
        asked = replace(request, steering=steering, pins=pins.astype(np.int32), exclude=exclude)
        if kind is ItemKind.bundle:  # a product that is never shown is not sold in a bundle either
            never = [rule for rule in rules if rule.action == "exclude"]
            asked = replace(asked, part_steering=self._steering(ItemKind.product, never))
        slate = self._asked(kind, asked)
        return replace(slate, rules=tuple(rule.rule_id for rule in steering.rules)) if steering.rules else slate

    def _asked(self, kind: ItemKind, request: Request) -> Slate:
        if kind is ItemKind.product:
            return self.pipeline.recommend(request, self.items)
        shelf = self.contents if kind is ItemKind.content else self.bundles
        return shelf.recommend(request, self.items)

    def _steering(self, kind: ItemKind, rules: Sequence[Rule]) -> Steering:
        spoken = tuple(rule for rule in rules if rule.kind is kind)
        if not spoken:
            return NO_STEERING
        carried = {ItemKind.content: self._products_of_content, ItemKind.bundle: self._products_of_bundle}
        return Steering(spoken, self.ids(kind).idxs, self.items, carried.get(kind))

    def _products_of_content(self, content_idx: int) -> Int32s:
        told = self.contents.table.contents[content_idx]
        return self.items.idxs(told.product_ids) if told else NO_ITEMS

    def _products_of_bundle(self, bundle_idx: int) -> Int32s:
        return self.bundles.table.parts(bundle_idx, self.items)

    def _mixed(self, request: Request, shares: Mapping[ItemKind, float]) -> Slate:
        """Answer with several kinds of item in one list; each kind's own list is as long as the whole could need."""
        slates = {}
        for kind in shares:
            asked = replace(request, explore_seed=None)  # what is drawn by chance must keep its place
            if kind is not ItemKind.product:
                exclude = request.exclude_others.get(kind, NO_ITEMS)
                asked = replace(asked, exclude=exclude, pins=NO_ITEMS)
            slates[kind] = self._of_kind(kind, asked)
        # Pinned products open the whole list; what is pinned of another kind opens that kind's own.
        pinned = [pick for pick in slates.get(ItemKind.product, NOTHING_SHOWN).picks if pick.stage == PIN]
        lists = {kind: [pick for pick in slate.picks if pick not in pinned] for kind, slate in slates.items()}
        picks = [*pinned, *mixed(lists, shares, request.k - len(pinned), self._repeats)]
        said = [f"mix: no {kind.name} to show" for kind, found in lists.items() if not found]
        is_short, filled = len(picks) < request.k, {pick.kind for pick in picks if pick.stage.startswith("fallback:")}
        for kind, slate in slates.items():
            # That one of the lists is shorter than the whole matters only where it shows.
            said += [f"{kind.name}: {text}" for text in slate.degraded if is_short or kind in filled]
        causes = dict.fromkeys(cause for slate in slates.values() for cause in slate.causes)
        rules = dict.fromkeys(rule for slate in slates.values() for rule in slate.rules)
        return Slate(tuple(picks), tuple(said), tuple(causes), tuple(rules))

    def _repeats(self, one: Pick, other: Pick) -> bool:
        """Whether a bundle and a product beside it, or two bundles, show the same product."""
        if ItemKind.bundle not in (one.kind, other.kind):
            return False
        return bool(set(_products_in(one)) & set(_products_in(other)))

    def ids(self, kind: ItemKind) -> LiveIds | ItemTable:
        """Return what knows the ids of a kind: `idx`, `idxs`, `text`."""
        known: dict[ItemKind, LiveIds | ItemTable] = {
            ItemKind.product: self.items, ItemKind.content: self.contents.ids, ItemKind.bundle: self.bundles.ids,
        }  # fmt: skip
        return known[kind]

    def text(self, pick: Pick) -> str:
        """Return the external id of what was picked."""
        return pick.item_id or self.ids(pick.kind).text(pick.item_idx)

    def under(self, rules: RuleBook) -> Self:
        """Return the storefront under other rules."""
        return self if rules == self.rules else replace(self, rules=rules)

    def with_low_stock(self, low_stock: float) -> Self:
        """Return the storefront with another threshold of stock."""
        return replace(self, items=self.items.with_low_stock(low_stock))

    def with_changes(self, rows: Mapping[ItemKind, Rows], trained: IdMap) -> Self:
        """Return the storefront after catalogue changes, full rows by kind; `trained` are the release's products."""
        fresh = self
        if products := [dated(row, trained) for row in rows.get(ItemKind.product, ())]:
            items = self.items.with_changes(products)
            arrivals = Arrivals.of(products, items)
            pipeline = self.pipeline.grown(arrivals) if len(arrivals) else self.pipeline
            fresh = replace(fresh, items=items, pipeline=pipeline)
        if contents := rows.get(ItemKind.content):
            fresh = replace(fresh, contents=self.contents.with_changes(contents))
        if bundles := rows.get(ItemKind.bundle):
            fresh = replace(fresh, bundles=self.bundles.with_changes(bundles))
        return fresh


def kind_of(scene: str) -> ItemKind:
    """Return what kind of item a scene shows."""
    return SHELF_SCENES.get(scene, ItemKind.product)


def _products_in(pick: Pick) -> tuple[int, ...]:
    if pick.bundle is not None:
        return pick.bundle.parts
    return (pick.item_idx,) if pick.kind is ItemKind.product else ()
