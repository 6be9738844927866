"""The contents as they are at this moment: what is said of each, in arrays, and how they are being read."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self

import numpy as np

from features.arrays import Bools, Float32s, Int32s, Int64s
from features.history import DAY_US
from features.text import split_words
from models.arrivals import grown_to
from models.contents.pulse import UNREAD, Pulse, Readings
from models.contents.table import ALWAYS, LIVE, Content, ContentTable
from models.contents.taste import Taste
from models.items import ItemTable
from models.query import NO_ITEMS
from models.recommenders.content_based import Wording

MAX_CHARS: Final = 4_000
SOON_US: Final = DAY_US  # how long before it begins a live stream is news
_OF_TABLE: Final = ("forms", "form_codes", "starts_at", "has_text", "published", "place", "_untold")


@dataclass(frozen=True, eq=False)
class Present:
    """Contents by dense index with everything that ranks them.

    Attributes
    ----------
    table : ContentTable
    wording : Wording
        How their texts become directions.
    words : float32 [n, dim]
        Direction of each content's text, of length 1; zero without text.
    taste : Taste
    pulse : Pulse
        Of at least the contents of the table.
    first_read : int64 [≤ n]
        First reading of each content that the release knows, UTC µs: when it came, if it does not say so itself.
    """

    table: ContentTable
    wording: Wording
    words: Float32s
    taste: Taste
    pulse: Pulse
    first_read: Int64s
    _linked: dict[int, Int32s] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, table: ContentTable, wording: Wording, words: Float32s, taste: Taste, pulse: Pulse) -> Self:
        """Put them together as a release knows them; contents beyond the first `len(words)` are described now."""
        later = describe(table.contents[len(words) :])
        grown = np.concatenate([words, wording.directions(later)]) if later else words
        first = pulse.first
        return cls(table, wording, grown, taste, pulse.writable(len(table)), first)

    def with_table(self, table: ContentTable) -> Self:
        """Return them with some contents described anew; only what changed costs anything."""
        known = self.table.contents
        changed = [i for i, one in enumerate(table.contents) if i >= len(known) or one is not known[i]]
        words = np.zeros((len(table), self.words.shape[1]), np.float32)
        words[: len(self.words)] = self.words
        if changed:
            words[changed] = self.wording.directions(describe(table.contents[i] for i in changed))
        pulse = self.pulse if len(self.pulse) >= len(table) else self.pulse.writable(len(table))
        return replace(self, table=table, words=words, pulse=pulse, _linked={})

    def with_pulse(self, pulse: Pulse) -> Self:
        """Return them read as another pulse says."""
        fresh = replace(self, pulse=pulse)
        kept = {name: value for name, value in vars(self).items() if name in _OF_TABLE}
        vars(fresh).update(kept)  # readings must not cost a walk over all contents
        return fresh

    def having_read(self, readings: Readings) -> Self:
        """Return them after some more readings."""
        pulse = self.pulse.writable(len(self.table))
        pulse.take(readings)
        return self.with_pulse(pulse)

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """Form of each content, empty where it is not said."""
        return tuple(one.form if one else "" for one in self.table.contents)

    @cached_property
    def form_codes(self) -> Int32s:
        """Number of each content's form: int32 [n], equal for equal forms."""
        codes = {form: n for n, form in enumerate(dict.fromkeys(self.forms))}
        return np.array([codes[form] for form in self.forms], np.int32)

    @cached_property
    def starts_at(self) -> Int64s:
        """When each live stream begins, `ALWAYS` for other contents: int64 [n]."""
        told = [one.starts_at if one and one.form == LIVE else ALWAYS for one in self.table.contents]
        return np.array(told, np.int64)

    @cached_property
    def has_text(self) -> Bools:
        """Which have a direction."""
        has_direction: Bools = np.einsum("ij,ij->i", self.words, self.words) > 0.5
        return has_direction

    @cached_property
    def published(self) -> Int64s:
        """When each came, UTC µs: as it says, else its first reading that the release knows: int64 [n]."""
        shown = self.table.shown_from
        return np.where(shown == ALWAYS, grown_to(len(shown), self.first_read, UNREAD), shown)

    @cached_property
    def place(self) -> Int32s:
        """Place of each content in the order of publication: int32 [n]."""
        place = np.empty(len(self.published), np.int32)
        place[np.lexsort((np.arange(len(place)), self.published))] = np.arange(len(place), dtype=np.int32)
        return place

    def born(self, content_idx: Int32s, at: int) -> Int64s:
        """Since when some contents are news at a moment: int64 [n].

        A live stream is news again around its beginning: the nearer, the more, on the day before as well as after.
        """
        starts, published = self.starts_at[content_idx], self.published[content_idx]
        is_soon = (at < starts) & (starts <= at + SOON_US)
        again = np.where(is_soon, 2 * at - np.where(is_soon, starts, at), np.where(starts <= at, starts, ALWAYS))
        return np.maximum(published, again)

    def is_on_air(self, content_idx: Int32s, at: int) -> Bools:
        """Which of some contents are live streams that are on, or begin within a day: bool [n]."""
        starts = self.starts_at[content_idx]
        on: Bools = (starts > ALWAYS) & (starts <= at + SOON_US)
        return on

    def is_out(self, content_idx: Int32s, at: int) -> Bools:
        """Which of some contents were published before a moment and have not expired: bool [n].

        What comes at that very moment is not out yet: an answer is made of what lies strictly before it. What nobody
        told of is out once somebody has read it.
        """
        out: Bools = self.table.showable(content_idx, at) & (self.table.shown_from[content_idx] < at)
        untold = self._untold[content_idx]
        out[untold] &= self.pulse.first[content_idx[untold]] < at
        return out

    @cached_property
    def _untold(self) -> Bools:
        return np.array([one is None for one in self.table.contents], np.bool_)

    def linked(self, content_idx: int, items: ItemTable) -> Int32s:
        """Return the products that a content carries: int32 [m]."""
        found = self._linked.get(content_idx)
        if found is None:
            one = self.table.contents[content_idx]
            found = items.idxs(one.product_ids) if one and one.product_ids else NO_ITEMS
            self._linked[content_idx] = found
        return found


def describe(contents: Iterable[Content | None]) -> list[list[str]]:
    """Return the terms of each content: the words of its title, its tags and its text."""
    described = []
    for one in contents:
        texts = (one.title, " \n ".join(one.tags), one.body) if one else ()
        described.append([term for text in texts for term in split_words(text[:MAX_CHARS])])
    return described
