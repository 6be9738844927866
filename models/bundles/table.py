"""What bundles may be offered now: those of a release under the live changes of the catalogue."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl

from features.arrays import Bools, Int32s
from features.ids import IdMap
from models.catalogued import LiveIds, amended
from models.items import ItemTable, is_listed


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle as its latest row describes it.

    Attributes
    ----------
    price : float or None
        Of the whole, in the shop's currency; None: the parts' prices added up.
    """

    product_ids: tuple[str, ...] = ()
    title: str = ""
    price: float | None = None
    theme: str = ""
    listed: bool = True

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Take a row of the table `bundles`."""
        return cls(
            tuple(row.get("product_ids") or ()), row.get("title") or "", row.get("price"), row.get("theme") or "",
            is_listed(row.get("status")),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class BundleTable:
    """Bundles by dense index; live changes make a new value.

    Attributes
    ----------
    ids : LiveIds
    bundles : tuple of Bundle or None
        None: known from events alone; nobody knows its parts, so it is not offered.
    """

    ids: LiveIds
    bundles: tuple[Bundle | None, ...]

    @classmethod
    def of(cls, ids: IdMap, frame: pl.DataFrame) -> Self:
        """Take the rows that a release was trained with, in index order (null where only events name a bundle)."""
        told = [None if row.get("bundle_id") is None else Bundle.of(row) for row in frame.iter_rows(named=True)]
        return cls(LiveIds(ids), tuple(told))

    def __len__(self) -> int:
        return len(self.bundles)

    def parts(self, bundle_idx: int, items: ItemTable) -> Int32s:
        """Return a bundle's products that the catalogue knows: int32 [≤ n parts]."""
        bundle = self.bundles[bundle_idx]
        return items.idxs(bundle.product_ids) if bundle else np.empty(0, np.int32)

    @cached_property
    def _holding(self) -> Mapping[str, tuple[int, ...]]:
        found: dict[str, list[int]] = defaultdict(list)
        for idx, bundle in enumerate(self.bundles):
            for product_id in dict.fromkeys(bundle.product_ids if bundle else ()):
                found[product_id].append(idx)
        return {product_id: tuple(held) for product_id, held in found.items()}

    def holding(self, product_id: str) -> tuple[int, ...]:
        """Return the bundles that a product is part of, ascending."""
        return self._holding.get(product_id, ())

    def is_of_theme(self, bundle_idx: int, theme: str) -> bool:
        """Whether a bundle is of a theme, or has it in its title."""
        bundle, name = self.bundles[bundle_idx], theme.casefold()
        return bundle is not None and (bundle.theme.casefold() == name or name in bundle.title.casefold())

    def showable(self, bundle_idx: Int32s, items: ItemTable, at: int) -> Bools:
        """Which of some bundles may be offered at a moment: bool [n]; every part must be there and in stock."""
        return np.array([self._is_whole(int(i), items, at) for i in bundle_idx], np.bool_)

    def _is_whole(self, bundle_idx: int, items: ItemTable, at: int) -> bool:
        bundle = self.bundles[bundle_idx]
        if bundle is None or not bundle.listed or not bundle.product_ids:
            return False
        parts = self.parts(bundle_idx, items)
        return len(parts) == len(set(bundle.product_ids)) and bool(items.showable(parts, at).all())

    def with_changes(self, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Return the table after catalogue changes, each a full row of the table `bundles`."""
        ids = self.ids.having([str(row["bundle_id"]) for row in rows])
        changes = {ids.idx(str(row["bundle_id"])): Bundle.of(row) for row in rows}
        return type(self)(ids, amended(self.bundles, len(ids), changes, None))
