"""Everything that may be shown at one moment and what chooses among it: products, contents and bundles.

Evaluation, batch and service ask this one value: what serves is what was evaluated (DESIGN §1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from features.columns import ItemKind
from features.ids import IdMap
from models.arrivals import Arrivals, dated
from models.bundles.shelf import BundleShelf
from models.catalogued import LiveIds
from models.contents.shelf import ContentShelf
from models.items import ItemTable
from models.pipeline import Pipeline
from models.slate import Pick, Request, Slate

SHELF_SCENES: Final[Mapping[str, ItemKind]] = {"content": ItemKind.content, "bundles": ItemKind.bundle}
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Storefront:
    """The pipeline of products with the products as they are now, and the shelves of the other kinds of item.

    A change of the catalogue makes a new value.
    """

    pipeline: Pipeline
    items: ItemTable
    contents: ContentShelf
    bundles: BundleShelf

    @property
    def scenes(self) -> tuple[str, ...]:
        """Scenes that can be asked."""
        return (*self.pipeline.scenes, *SHELF_SCENES)

    def recommend(self, request: Request) -> Slate:
        """Answer a request in its scene; an unknown scene is a `KeyError` for the caller to word."""
        kind = kind_of(request.scene)
        if kind is ItemKind.product:
            return self.pipeline.recommend(request, self.items)
        shelf = self.contents if kind is ItemKind.content else self.bundles
        return shelf.recommend(request, self.items)

    def ids(self, kind: ItemKind) -> LiveIds | ItemTable:
        """Return what knows the ids of a kind: `idx`, `idxs`, `text`."""
        known: dict[ItemKind, LiveIds | ItemTable] = {
            ItemKind.product: self.items, ItemKind.content: self.contents.ids, ItemKind.bundle: self.bundles.ids,
        }  # fmt: skip
        return known[kind]

    def text(self, pick: Pick) -> str:
        """Return the external id of what was picked."""
        return pick.item_id or self.ids(pick.kind).text(pick.item_idx)

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
