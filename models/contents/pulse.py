"""The pulse: what is being read now, counted over all customers and naming none of them.

Every content has its readings at several half-lives, as they stood at its latest reading: to look at them at a later
moment costs a multiplication, to take one in as well, and what is forgotten need not be kept. A reading says which
group of like readers it came from (`models.contents.taste`), never who read.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s, UInt8s
from features.columns import EventKind
from features.history import Histories
from models.arrivals import grown_to

HOUR_US: Final = 3_600_000_000
HALF_LIVES_HOURS: Final = (1 / 6, 1.0, 4.0, 24.0, 72.0, 168.0, 720.0)
MINUTES, HOUR, HOURS, DAY, DAYS, WEEK, MONTH = range(len(HALF_LIVES_HOURS))
UNREAD: Final = 2**62
_LIVES_US: Final = np.array(HALF_LIVES_HOURS) * HOUR_US
READING_KINDS: Final = (
    EventKind.view, EventKind.click, EventKind.open, EventKind.cart, EventKind.purchase, EventKind.favorite,
    EventKind.share, EventKind.review, EventKind.done,
)  # fmt: skip


def is_reading(kind: UInt8s) -> Bools:
    """Which kinds of event say that somebody took a content up: bool [n]; having been shown it is none."""
    return np.isin(kind, READING_KINDS)


@dataclass(frozen=True, eq=False, slots=True)
class Readings:
    """Readings of all customers, ascending in time.

    Attributes
    ----------
    content_idx : int32 [n]
    at : int64 [n]
        UTC µs.
    group : int32 [n]
        Of the reader; 0 is that of those who are not known.
    """

    content_idx: Int32s
    at: Int64s
    group: Int32s

    def __len__(self) -> int:
        return len(self.at)

    def until(self, moment: int, start: int = 0) -> "Readings":
        """Return those from row `start` on that lie strictly before `moment`."""
        rows = slice(start, max(start, int(np.searchsorted(self.at, moment, side="left"))))
        return Readings(self.content_idx[rows], self.at[rows], self.group[rows])

    @classmethod
    def of(cls, events: Histories, group: Int32s) -> Self:
        """Take the readings among some events; `group` int32 [n_customers] is that of each customer."""
        rows = np.flatnonzero(is_reading(events.kind))
        rows = rows[np.argsort(events.at[rows], kind="stable")]
        return cls(events.item_idx[rows], events.at[rows], group[events.customer_idx[rows]])


@dataclass(frozen=True, eq=False)
class Pulse:
    """Readings of each content, up to some moment.

    Attributes
    ----------
    lately : float64 [n, 7]
        Decayed by each of `HALF_LIVES_HOURS`, as they stood at `latest`.
    latest, first : int64 [n]
        UTC µs of the last and the first reading; `-UNREAD` and `UNREAD` where there is none.
    groups : float32 [n, n_groups + 1]
        Readings ever, by group of readers.
    overall : float64 [7]
        Of all contents together, as they stood at `overall_at` (int64 [1]).
    """

    lately: Float64s
    latest: Int64s
    first: Int64s
    groups: Float32s
    overall: Float64s
    overall_at: Int64s

    @classmethod
    def silent(cls, n_contents: int, n_groups: int) -> Self:
        """Return the pulse of contents that nobody has read."""
        n_lives = len(HALF_LIVES_HOURS)
        return cls(
            np.zeros((n_contents, n_lives)), np.full(n_contents, -UNREAD, np.int64),
            np.full(n_contents, UNREAD, np.int64), np.zeros((n_contents, n_groups + 1), np.float32),
            np.zeros(n_lives), np.full(1, -UNREAD, np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.latest)

    @property
    def n_groups(self) -> int:
        """Number of groups of readers."""
        return int(self.groups.shape[1]) - 1

    def writable(self, n_contents: int) -> "Pulse":
        """Return a copy for at least so many contents that `take` may change."""
        n = max(n_contents, len(self))
        return Pulse(
            grown_to(n, self.lately, 0.0), grown_to(n, self.latest, -UNREAD), grown_to(n, self.first, UNREAD),
            grown_to(n, self.groups, 0.0), np.array(self.overall), np.array(self.overall_at),
        )  # fmt: skip

    def take(self, read: Readings) -> None:
        """Count some readings, in place; the order in which they are told does not matter."""
        if not len(read):
            return
        which, at = read.content_idx, read.at
        touched = np.unique(which)
        before = self.latest[touched].copy()
        np.maximum.at(self.latest, which, at)
        self.lately[touched] *= _faded(self.latest[touched] - before)
        np.add.at(self.lately, which, _faded(self.latest[which] - at))
        np.minimum.at(self.first, which, at)
        np.add.at(self.groups, (which, np.where(read.group <= self.n_groups, read.group, 0)), np.float32(1.0))
        last = max(int(at.max()), int(self.overall_at[0]))
        left = _faded(np.array([last - int(self.overall_at[0])]))[0]
        self.overall[:] = self.overall * left + _faded(last - at).sum(axis=0)
        self.overall_at[0] = last

    def counts(self, content_idx: Int32s, at: int) -> Float64s:
        """Return the decayed readings of some contents as they stand at a moment: float64 [n, 7]."""
        counts: Float64s = self.lately[content_idx] * _faded(np.maximum(at - self.latest[content_idx], 0))
        return counts

    def all_counts(self, at: int) -> Float64s:
        """Return those of all contents together: float64 [7]."""
        counts: Float64s = self.overall * _faded(np.array([max(at - int(self.overall_at[0]), 0)]))[0]
        return counts

    def day_counts(self, content_idx: Int32s, at: int) -> Float64s:
        """Return `counts` at the half-life of a day alone: float64 [n]."""
        since = np.maximum(at - self.latest[content_idx], 0)
        counts: Float64s = self.lately[content_idx, DAY] * np.exp2(-since / _LIVES_US[DAY])
        return counts


def _faded(elapsed_us: Int64s) -> Float64s:
    """Return what is left of one reading after some time: float64 [n, 7]."""
    left: Float64s = np.exp2(-elapsed_us[:, None].astype(np.float64) / _LIVES_US)
    return left
