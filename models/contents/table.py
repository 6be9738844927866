"""What contents may be shown now: those of a release under the live changes of the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import polars as pl

from features.arrays import Bools, Int32s, Int64s
from features.ids import IdMap
from models.catalogued import LiveIds, amended
from models.lifecycle.standing import LIFECYCLE_STAGE, STANDINGS

NEVER: Final = 2**62
ALWAYS: Final = -(2**62)
LIVE: Final = "live"
WEEK_US: Final = 7 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class Content:
    """One content as its latest row describes it; empty or `None`-like extremes where the row does not say.

    Attributes
    ----------
    starts_at : int
        UTC µs at which a live stream begins; for other forms they are shown from then. `ALWAYS` where not said.
    published_at, expires_at : int
        UTC µs: shown from (inclusive) and until (exclusive).
    """

    form: str = ""
    title: str = ""
    body: str = ""
    tags: tuple[str, ...] = ()
    product_ids: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    stage: str = ""
    published_at: int = ALWAYS
    starts_at: int = ALWAYS
    expires_at: int = NEVER

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Take a row of the table `contents`."""
        tags, product_ids, channels = (tuple(row.get(name) or ()) for name in ("tags", "product_ids", "channels"))
        form, title, body, stage = (row.get(name) or "" for name in ("form", "title", "body", "stage"))
        moments = (("published_at", ALWAYS), ("starts_at", ALWAYS), ("expires_at", NEVER))
        published, starts, expires = (other if row.get(name) is None else int(row[name]) for name, other in moments)
        return cls(form, title, body, tags, product_ids, channels, stage, published, starts, expires)

    @property
    def shown_from(self) -> int:
        """From when it may be shown, UTC µs: a live stream is announced as soon as it is published."""
        return self.published_at if self.form == LIVE else max(self.published_at, self.starts_at)


NOTHING_TOLD: Final = Content()


@dataclass(frozen=True, eq=False)
class ContentTable:
    """Contents by dense index; live changes make a new value.

    Attributes
    ----------
    ids : LiveIds
    contents : tuple of Content or None
        None: known from events alone, nothing says that it may not be shown.
    shown_from, shown_until : int64 [n]
        UTC µs, inclusive and exclusive.
    """

    ids: LiveIds
    contents: tuple[Content | None, ...]
    shown_from: Int64s
    shown_until: Int64s

    @classmethod
    def of(cls, ids: IdMap, frame: pl.DataFrame) -> Self:
        """Take the rows that a release was trained with, in index order (null where only events name a content)."""
        told = [None if row.get("content_id") is None else Content.of(row) for row in frame.iter_rows(named=True)]
        return cls._with(LiveIds(ids), tuple(told))

    @classmethod
    def _with(cls, ids: LiveIds, contents: tuple[Content | None, ...]) -> Self:
        known = [one or NOTHING_TOLD for one in contents]
        return cls(
            ids, contents, np.array([one.shown_from for one in known], np.int64),
            np.array([one.expires_at for one in known], np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.contents)

    @cached_property
    def of_stages(self) -> bool:
        """Whether any content is written for a stage of the lifecycle."""
        return any(one is not None and one.stage.casefold() in STANDINGS[LIFECYCLE_STAGE] for one in self.contents)

    def showable(self, content_idx: Int32s, at: int) -> Bools:
        """Which of some contents may be shown at a moment: bool [n]."""
        shown: Bools = (self.shown_from[content_idx] <= at) & (at < self.shown_until[content_idx])
        return shown

    def with_changes(self, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Return the table after catalogue changes, each a full row of the table `contents`."""
        ids = self.ids.having([str(row["content_id"]) for row in rows])
        changes = {ids.idx(str(row["content_id"])): Content.of(row) for row in rows}
        return self._with(ids, amended(self.contents, len(ids), changes, None))
