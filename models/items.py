"""What may be shown now: the items of a release with their live stock, status and price (DESIGN §4, steps 5 and 6)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import polars as pl

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.dataset import Entities
from features.ids import IdMap

NEVER: Final = 2**62
ALWAYS: Final = -(2**62)
MAX_DEPTH: Final = 8
HIDDEN_STATUSES: Final = frozenset({"hidden", "deleted", "discontinued", "inactive", "expired"})


def is_listed(status: str | None) -> bool:
    """Whether an item with this status may be shown; one that is not known does not hide it."""
    return status not in HIDDEN_STATUSES


@dataclass(frozen=True, eq=False)
class ItemTable:
    """Items by dense index, as arrays for filters and texts for reasons; live changes make a new value.

    Items 0 … n_trained-1 are the release's; those after came with the catalogue since and only sources that need no
    training know them.

    Attributes
    ----------
    ids : IdMap
        Ids of the trained items.
    added : mapping of str to int
        Index of each item that came after training.
    titles, brands : tuple of str
        Per item; empty where unknown.
    category : int32 [n]
        Index into `paths`, -1 where unknown.
    paths : tuple of str
        The category paths `a/b/c`.
    price, cost : float32 [n]
        NaN where unknown.
    listed : bool [n]
        The status hides it not.
    stock : float64 [n]
        NaN where unknown: that does not hide.
    starts_at, ends_at : int64 [n]
        Shown from (inclusive) and until (exclusive), UTC µs.
    low_stock : float
        With this much in stock or less an item is not shown.
    """

    ids: IdMap
    added: Mapping[str, int]
    titles: tuple[str, ...]
    brands: tuple[str, ...]
    category: Int32s
    paths: tuple[str, ...]
    price: Float32s
    cost: Float32s
    listed: Bools
    stock: Float64s
    starts_at: Int64s
    ends_at: Int64s
    low_stock: float = 0.0

    @classmethod
    def of(cls, products: Entities) -> Self:
        """Take the products as a dataset knows them."""
        frame = products.frame
        created = _column(frame, "created_at")
        category, paths = products.codes("category")
        return cls(
            products.ids, {}, _texts(frame, "title"), _texts(frame, "brand"), category, paths,
            price=np.array([np.nan if x is None else x for x in _column(frame, "price")], np.float32),
            cost=np.array([np.nan if x is None else x for x in _column(frame, "cost")], np.float32),
            listed=np.array([is_listed(status) for status in _column(frame, "status")], np.bool_),
            stock=np.array([np.nan if x is None else x for x in _column(frame, "stock")], np.float64),
            starts_at=np.array([ALWAYS if t is None else t for t in created], np.int64),
            ends_at=np.full(len(frame), NEVER, np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.listed)

    @cached_property
    def sellable(self) -> Bools:
        """Listed, and more in stock than `low_stock` where the stock is known: bool [n]."""
        return self.listed & ~(self.stock <= self.low_stock)

    def with_low_stock(self, low_stock: float) -> Self:
        """Return the table with another threshold of stock."""
        return self if low_stock == self.low_stock else self._as_grown(replace(self, low_stock=low_stock))

    @property
    def n_trained(self) -> int:
        """Number of items the models know."""
        return len(self.ids)

    def idx(self, item_id: str) -> int:
        """Return the index of an item, -1 when there is none."""
        found = self.ids.idx(item_id)
        return found if found >= 0 else self.added.get(item_id, -1)

    def idxs(self, item_ids: Iterable[str]) -> Int32s:
        """Indexes of the known ones among some ids, in order, without duplicates: int32 [≤ n]."""
        found = dict.fromkeys(i for i in map(self.idx, item_ids) if i >= 0)
        return np.fromiter(found, np.int32, len(found))

    def text(self, idx: int) -> str:
        """Return the external id."""
        return self.ids.text(idx) if idx < self.n_trained else tuple(self.added)[idx - self.n_trained]

    def path(self, idx: int) -> str:
        """Return the category path of an item, "" where it is unknown."""
        category = int(self.category[idx])
        return self.paths[category] if category >= 0 else ""

    def showable(self, item_idx: Int32s, at: int) -> Bools:
        """Which of some items may be shown at a moment: bool [n]."""
        shown: Bools = self.sellable[item_idx] & (self.starts_at[item_idx] <= at) & (at < self.ends_at[item_idx])
        return shown

    @cached_property
    def ancestors(self) -> Int32s:
        """Group of each category path at each depth: int32 [8, n_paths + 1]; the last column, -1, is the unknown's."""
        groups = np.full((MAX_DEPTH, len(self.paths) + 1), -1, np.int32)
        for depth in range(MAX_DEPTH):
            known: dict[str, int] = {}
            for row, path in enumerate(self.paths):
                groups[depth, row] = known.setdefault("/".join(path.split("/")[: depth + 1]), len(known))
        return groups

    def below(self, category: str) -> Bools:
        """Which category paths are a category or lie below it: bool [n_paths + 1]; the last, -1, is the unknown's."""
        known = self._below
        if category not in known:
            inside = [path == category or path.startswith(category + "/") for path in self.paths]
            known[category] = np.array([*inside, False], np.bool_)
        return known[category]

    @cached_property
    def brand_codes(self) -> Int32s:
        """Group of each item's brand: int32 [n], -1 where unknown."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(b, len(known)) if b else -1 for b in self.brands], np.int32)

    @cached_property
    def _below(self) -> dict[str, Bools]:
        return {}

    def families(self, item_idx: Int32s, depth: int) -> Int32s:
        """Group of each item's category cut after `depth` parts: int32 [n], -1 where unknown."""
        found: Int32s = self.ancestors[depth - 1, self.category[item_idx]]
        return found

    def with_changes(self, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Return the table after catalogue changes, each a full product row (product_id, title, status, stock …)."""
        at = {str(row["product_id"]): self.idx(str(row["product_id"])) for row in rows}
        fresh = [item for item, idx in at.items() if idx < 0]
        added = dict(self.added) | {item: len(self) + n for n, item in enumerate(fresh)}
        paths = tuple(dict.fromkeys((*self.paths, *(str(r["category"]) for r in rows if r.get("category")))))
        code = {path: n for n, path in enumerate(paths)}
        titles, brands = [*self.titles, *fresh], [*self.brands, *fresh]
        grown = {
            name: np.concatenate([array, np.zeros(len(fresh), array.dtype)])
            for name in ("category", "price", "cost", "listed", "stock", "starts_at", "ends_at")
            for array in (getattr(self, name),)
        }
        for row in rows:
            idx = max(at[str(row["product_id"])], added.get(str(row["product_id"]), -1))
            titles[idx], brands[idx] = str(row.get("title") or ""), str(row.get("brand") or "")
            price, cost, created = row.get("price"), row.get("cost"), row.get("created_at")
            grown["category"][idx] = code.get(str(row.get("category")), -1)
            grown["price"][idx] = np.nan if price is None else float(price)
            grown["cost"][idx] = np.nan if cost is None else float(cost)
            stock = row.get("stock")
            grown["listed"][idx] = is_listed(row.get("status"))
            grown["stock"][idx] = np.nan if stock is None else float(stock)
            grown["starts_at"][idx] = ALWAYS if created is None else int(created)
            grown["ends_at"][idx] = NEVER
        changed = type(self)(
            self.ids, added, tuple(titles), tuple(brands), paths=paths, low_stock=self.low_stock, **grown
        )
        return self._as_grown(changed)

    def _as_grown(self, changed: Self) -> Self:
        if changed.paths == self.paths:  # a change of stock must not cost a walk over all categories
            vars(changed)["ancestors"] = self.ancestors
        return changed


def _column(frame: pl.DataFrame, name: str) -> list[Any]:
    return frame[name].to_list() if name in frame.columns else [None] * len(frame)


def _texts(frame: pl.DataFrame, name: str) -> tuple[str, ...]:
    return tuple("" if text is None else str(text) for text in _column(frame, name))
