"""Consent: what a customer said may be done, per purpose and channel (PRODUCT.md, G1).

A word is `on` or `off` with its moment and where it was said. Of two words on the same purpose and channel the later
one holds, of two at the same moment `off` does: the stricter. Nothing said means: personalization is on until it is
refused, and no message may be sent.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
import polars as pl

from features import columns as c
from features.arrays import Int64s
from features.contracts import Tables
from features.identities import canonical_ids, with_canonical_ids
from features.ids import IdMap

PERSONALIZATION: Final = "personalization"
MARKETING: Final = "marketing"
ALL_CHANNELS: Final = ""
END_OF_TIME: Final = 2**62


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a customer: `on` or `off`, when it was said (UTC µs) and where."""

    at: int
    state: str
    source: str = ""

    @property
    def is_on(self) -> bool:
        """Whether it allows."""
        return self.state == "on"


def later(one: Word, other: Word) -> Word:
    """Return the word that holds: the later, of two at the same moment `off`."""
    return max(one, other, key=lambda word: (word.at, not word.is_on))


Words: TypeAlias = Mapping[tuple[str, str], Word]


def may_touch(words: Words, purpose: str, channel: str) -> bool:
    """Whether a message for this purpose may go out on this channel; what was never said is a no.

    A word on the one channel goes before the word on all channels, with one exception: who says `off` to all channels
    afterwards means this one too. An `on` to all channels never lifts the `off` of one.
    """
    one, every = words.get((purpose, channel)), words.get((purpose, ALL_CHANNELS))
    if one is None:
        return every is not None and every.is_on
    revoked = every is not None and not every.is_on and every.at >= one.at
    return one.is_on and not revoked


def is_personal(words: Words) -> bool:
    """Whether history may be used: until the customer refuses."""
    said = words.get((PERSONALIZATION, ALL_CHANNELS))
    return said is None or said.is_on


@dataclass(frozen=True, eq=False)
class Refusals:
    """Who had switched personalization off when a release was trained, as arrays of that release.

    Attributes
    ----------
    ids : IdMap
        Canonical ids.
    at : int64 [n]
        When it was said, UTC µs: a later word lifts it.
    """

    ids: IdMap
    at: Int64s

    @classmethod
    def of(cls, refused: Mapping[str, int]) -> Self:
        """Take them from a dataset."""
        known = sorted(refused.items())
        return cls(IdMap.of(who for who, _ in known), np.array([at for _, at in known], np.int64))

    def without(self, ids: Collection[str]) -> Self:
        """Return them without some customers; the same object when none of them is here."""
        stays = np.array([who not in ids for who in self.ids.texts], np.bool_)
        if stays.all():
            return self
        texts = [who for who, kept in zip(self.ids.texts, stays, strict=True) if kept]
        return type(self)(IdMap.of(texts), self.at[stays])

    def at_of(self, customer_id: str) -> int | None:
        """Return when a customer refused, None who did not."""
        idx = self.ids.idx(customer_id)
        return int(self.at[idx]) if idx >= 0 else None


def refusals(tables: Tables, until: int = END_OF_TIME) -> pl.DataFrame:
    """Return who refused personalization and when: columns customer_id (canonical) and at, by customer_id.

    The last word said before `until` (UTC µs) by any id of a person counts.
    """
    said = tables.scan("consents").filter((pl.col("purpose") == PERSONALIZATION) & (pl.col(c.AT) < until))
    return (
        with_canonical_ids(said, canonical_ids(tables))
        .sort(c.CUSTOMER_ID, c.AT, pl.col("state") == "off")
        .group_by(c.CUSTOMER_ID, maintain_order=True)
        .agg(pl.col(c.AT).last(), pl.col("state").last())
        .filter(pl.col("state") == "off")
        .select(c.CUSTOMER_ID, c.AT)
        .collect()
    )


def words_of_all(tables: Tables, canonical: Mapping[str, str]) -> dict[str, dict[tuple[str, str], Word]]:
    """Return every customer's last words by (purpose, channel), under canonical ids.

    Of what several ids of one person said, the later word holds, of two at the same moment `off`.
    """
    rows = with_canonical_ids(tables.scan("consents"), canonical)
    said: dict[str, dict[tuple[str, str], Word]] = {}
    names = (c.CUSTOMER_ID, "purpose", c.CHANNEL, c.AT, "state", "source")
    for who, purpose, channel, at, state, source in rows.select(names).collect().iter_rows():
        place, word = (purpose, channel or ALL_CHANNELS), Word(at, state, source or "")
        his = said.setdefault(who, {})
        his[place] = later(his[place], word) if place in his else word
    return said
