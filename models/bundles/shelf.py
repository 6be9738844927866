"""The shelf of bundles: which offers of several products are made to whom (PRODUCT.md, W2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from features.columns import ItemKind
from models.arrivals import grown_to
from models.bundles.model import BundleModel
from models.bundles.table import BundleTable
from models.bundles.wishes import BundleDetails
from models.catalogued import LiveIds
from models.items import ItemTable
from models.reasons import reason
from models.slate import Pick, Request, Slate, steered

POPULAR: Final = "popular"


@dataclass(frozen=True, eq=False)
class BundleShelf:
    """What a release knows of bundles, and the bundles as they are now."""

    model: BundleModel
    table: BundleTable

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
        """Answer with the bundles that many bought lately."""
        every = np.arange(len(self.table), dtype=np.int32)
        every = every[~np.isin(every, request.exclude)]
        if request.bundle.theme:
            themes = [one.theme if one else "" for one in self.table.bundles]
            every = every[[themes[i] == request.bundle.theme for i in every]]
        weight = grown_to(len(self.table), np.array(self.model.weight), 0.0)
        if request.steering.rules:
            every = every[request.steering.allows(every)]
        order = steered(request, every[np.lexsort((every, -weight[every]))])
        picks: list[Pick] = []
        for idx in order:
            if len(picks) == request.k:
                break
            if self.table.showable(np.array([idx], np.int32), items, request.query.at)[0]:
                picks.append(self._pick(int(idx), float(weight[idx]), items))
        short = [f"only {len(picks)} of {request.k} places filled: no more bundles may be shown"]
        return Slate(tuple(picks), tuple(short if len(picks) < request.k else ()))

    def _pick(self, idx: int, score: float, items: ItemTable) -> Pick:
        bundle, parts = self.table.bundles[idx], self.table.parts(idx, items)
        alone = float(items.price[parts].sum())
        price = bundle.price if bundle and bundle.price is not None else None if np.isnan(alone) else alone
        saving = None if price is None or np.isnan(alone) else alone - price
        details = BundleDetails(tuple(parts.tolist()), price, saving)
        why = reason("bundle_popular" if score > 0 else "bundle_offered")
        return Pick(idx, score, POPULAR, why, kind=self.kind, bundle=details)
