"""`Life`: all that is known of one customer before a moment, and many lives as arrays, one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np

from features.arrays import AnyArray, Bools, Int64s
from features.attributes import attributes_of
from features.history import EMPTY, Histories, History
from features.trails import NO_TRAIL, Trail


@dataclass(frozen=True, slots=True)
class About:
    """What the shop tells of a customer: a row of the table `customers`, read."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    timezone: str = ""
    group_ids: tuple[str, ...] = ()
    advisor_id: str = ""
    inviter_id: str = ""
    joined_at: int | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Self:
        """Read a row; what it does not say is unknown."""
        told = row or {}
        return cls(
            attributes_of(told.get("attributes")), tuple(told.get("tags") or ()), told.get("timezone") or "",
            tuple(told.get("group_ids") or ()), told.get("advisor_id") or "", told.get("inviter_id") or "",
            told.get("joined_at"),
        )  # fmt: skip

    @property
    def is_known(self) -> bool:
        """Whether the shop told anything."""
        return self != About()


@dataclass(frozen=True, eq=False, slots=True)
class Life:
    """One customer's events before a moment, and what the shop tells of him.

    Attributes
    ----------
    products, contents, bundles : History
        Events by kind of item; products in the indexes of the release, -1 for those it does not know.
    told : bool [len(products)]
        Whether the shop told of a discount on the line; false for what came after the release.
    trail : Trail
        Events that name a channel (until the release) or no item.
    n_invited : int
        Customers who name him as their inviter.
    """

    products: History = EMPTY
    contents: History = EMPTY
    bundles: History = EMPTY
    told: Bools = field(default_factory=lambda: np.empty(0, np.bool_))
    trail: Trail = NO_TRAIL
    about: About = About()
    n_invited: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Lives:
    """Several lives as arrays: customer i is row i of every `Histories`, and entry i of the other fields."""

    products: Histories
    others: tuple[Histories, Histories]
    told: Bools
    trail_indptr: Int64s
    trail: Trail
    lives: tuple[Life, ...]

    @classmethod
    def of(cls, lives: Sequence[Life]) -> Self:
        """Put lives one after the other."""
        trails = [one.trail for one in lives]
        together = Trail(*(
            np.concatenate([getattr(NO_TRAIL, f.name), *(getattr(one, f.name) for one in trails)])
            for f in fields(Trail)
        ))  # fmt: skip
        return cls(
            stacked([one.products for one in lives]),
            (stacked([one.contents for one in lives]), stacked([one.bundles for one in lives])),
            np.concatenate([np.empty(0, np.bool_), *(one.told for one in lives)]), indptr_of(trails), together,
            tuple(lives),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.lives)

    @property
    def trail_customer(self) -> Int64s:
        """The customer of each row of `trail`: int64 [n]."""
        return np.repeat(np.arange(len(self)), np.diff(self.trail_indptr))

    @property
    def every_act(self) -> tuple[Int64s, Int64s, AnyArray]:
        """(customer, at, kind) of all events about whatever, ascending in (customer, at)."""
        parts = [(h.customer_idx.astype(np.int64), h.at, h.kind) for h in (self.products, *self.others)]
        bare = self.trail.is_bare
        parts.append((self.trail_customer[bare], self.trail.at[bare], self.trail.kind[bare]))
        customer, at, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((at, customer))
        return customer[order], at[order], kind[order]


def indptr_of(parts: Sequence[History] | Sequence[Trail]) -> Int64s:
    """Return where each part begins when they stand one after the other: int64 [n + 1]."""
    indptr = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(one) for one in parts], out=indptr[1:])
    return indptr


def stacked(histories: Sequence[History]) -> Histories:
    """Return histories one after the other, as `Histories` holds them."""
    names = [f.name for f in fields(EMPTY)]
    columns = (np.concatenate([getattr(one, name) for one in (EMPTY, *histories)]) for name in names)
    return Histories(indptr_of(histories), *columns)
