"""Products that came after training, as the sources that can take them in are told (`models.seams.Growing`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar, cast

import numpy as np
import polars as pl

from features.arrays import AnyArray, Int32s
from features.ids import IdMap
from models.items import ItemTable

ArrayT = TypeVar("ArrayT", bound=AnyArray)
KNOWN: Final[dict[str, Any]] = {
    "title": pl.String, "category": pl.String, "brand": pl.String, "tags": pl.List(pl.String), "text": pl.String,
    "created_at": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Some products that a release does not know, as their latest rows describe them.

    Attributes
    ----------
    item_idx : int32 [n]
        Ascending; all of them after the products of the release.
    frame : DataFrame [n]
        Their rows: the columns of `KNOWN`, null where unknown; times in UTC µs.
    n_trained, n_items : int
        Number of products of the release, and with all that came since.
    """

    item_idx: Int32s
    frame: pl.DataFrame
    n_trained: int
    n_items: int

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], items: ItemTable) -> Self:
        """Take those among some product rows that came after training; `items` knows them already."""
        came = {items.added[str(row["product_id"])]: row for row in rows if str(row["product_id"]) in items.added}
        item_idx = sorted(came)
        told = [{name: came[i].get(name) for name in KNOWN} for i in item_idx]
        return cls(np.array(item_idx, np.int32), pl.DataFrame(told, schema=KNOWN), items.n_trained, len(items))

    def __len__(self) -> int:
        return len(self.item_idx)


def dated(row: Mapping[str, Any], trained: IdMap) -> Mapping[str, Any]:
    """Let a product that a release does not know and that does not say when it came have come with its row."""
    if row.get("created_at") is not None or trained.idx(str(row["product_id"])) >= 0:
        return row
    return {**row, "created_at": row.get("valid_from")}


def grown_to(n: int, array: ArrayT, filler: float) -> ArrayT:
    """Return a copy of an array with `n` rows, those that are added holding `filler`."""
    grown = np.full((n, *array.shape[1:]), filler, array.dtype)
    grown[: len(array)] = array
    return cast("ArrayT", grown)
