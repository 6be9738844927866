"""Ids that were trained and ids that came since: what the live tables of every kind of item share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from features.arrays import Int32s
from features.ids import IdMap


@dataclass(frozen=True, eq=False)
class LiveIds:
    """Items by dense index: 0 … n_trained-1 are the release's, those after came with the catalogue since.

    Attributes
    ----------
    trained : IdMap
        Ids of the trained items.
    added : mapping of str to int
        Index of each item that came after training, in the order in which they came.
    """

    trained: IdMap
    added: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trained) + len(self.added)

    def idx(self, item_id: str) -> int:
        """Return the index of an item, -1 when there is none."""
        found = self.trained.idx(item_id)
        return found if found >= 0 else self.added.get(item_id, -1)

    def idxs(self, item_ids: Iterable[str]) -> Int32s:
        """Indexes of the known ones among some ids, in order, without duplicates: int32 [≤ n]."""
        found = dict.fromkeys(i for i in map(self.idx, item_ids) if i >= 0)
        return np.fromiter(found, np.int32, len(found))

    def text(self, idx: int) -> str:
        """Return the external id."""
        n_trained = len(self.trained)
        return self.trained.text(idx) if idx < n_trained else self._came[idx - n_trained]

    @cached_property
    def _came(self) -> tuple[str, ...]:
        return tuple(self.added)

    def having(self, item_ids: Sequence[str]) -> Self:
        """Return the ids with those that are not known yet put at the end."""
        fresh = [one for one in dict.fromkeys(item_ids) if self.idx(one) < 0]
        if not fresh:
            return self
        added = dict(self.added) | {one: len(self) + n for n, one in enumerate(fresh)}
        return type(self)(self.trained, added)


def amended(values: Sequence[Any], n: int, changes: Mapping[int, Any], filler: Any) -> tuple[Any, ...]:
    """Return values [n] with some of them changed; places that are new and not told hold `filler`."""
    grown = [*values, *[filler] * (n - len(values))]
    for idx, value in changes.items():
        grown[idx] = value
    return tuple(grown)
