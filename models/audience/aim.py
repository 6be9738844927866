"""From what a shop names (a product, a category, a bundle, a content, a campaign) to the products that stand for it."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from features.arrays import Int32s
from features.errors import UsageError
from models.audience.crowd import Crowd
from models.audience.target import Target
from models.items import ItemTable
from models.storefront import Storefront

AimKind: TypeAlias = Literal["product", "category", "bundle", "content", "campaign"]
AIM_KINDS: Final = ("product", "category", "bundle", "content", "campaign")
NO_PROBABILITIES: Final = "too little was sold to tell probabilities: a rule orders who bought it, or its like, lately"
CANNOT_BE_SOLD: Final = "none of its products may be shown now (stock, dates or status): nobody is listed"


class UnknownAim(UsageError):
    """What an audience was sought for is not known, or has no products."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What an audience is sought for.

    Attributes
    ----------
    id : str
        Of the product, bundle, content or campaign; of a category its path `a/b`.
    offered : tuple of str
        Of a campaign: the products that it offers.
    """

    kind: AimKind
    id: str
    offered: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`kind:id`."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, eq=False, slots=True)
class Aimed:
    """A target with a word on what of it is known less well than it should, and whether it may be sold now."""

    target: Target
    item_idx: Int32s
    sellable: bool
    notes: tuple[str, ...]


def take_aim(aim: Aim, front: Storefront, crowd: Crowd, at: int) -> Aimed:
    """Look up the products; what cannot be sold at `at` (UTC µs) is still wanted, and the notes say so.

    Raises
    ------
    UnknownAim
        There is no such thing, or nobody knows its products.
    """
    items = front.items
    named = _product_ids(aim, front)
    found = items.idxs(named)
    if not len(found):
        also = "" if aim.kind in ("product", "category") else ", or knows none of its products"
        raise UnknownAim(f"This shop has no {aim.kind} of that name{also}; check its id.")
    notes = []
    if len(found) < len(set(named)):
        notes.append(f"{len(set(named)) - len(found)} of its products are not in the catalogue")
    shown = items.showable(found, at)
    if not shown.all():
        notes.append(
            f"{int((~shown).sum())} of its {len(found)} products may not be shown now (stock, dates or status)"
        )
    known = found[found < crowd.n_items]
    new = found[found >= crowd.n_items]
    if len(new):
        notes.append(f"{len(new)} of its products came after the release: judged by who buys their like")
    target = Target.of(crowd, known, _like(new, items, crowd.n_items), len(new))
    return Aimed(target, found, bool(shown.any()), tuple(notes))


def _product_ids(aim: Aim, front: Storefront) -> tuple[str, ...]:
    if aim.kind == "product":
        return (aim.id,)
    if aim.kind == "campaign":
        return aim.offered
    if aim.kind == "category":
        inside = [path == aim.id or path.startswith(f"{aim.id}/") for path in front.items.paths]
        rows = np.flatnonzero(np.array([*inside, False], np.bool_)[front.items.category])
        return tuple(front.items.text(int(idx)) for idx in rows)
    shelf = front.bundles.table if aim.kind == "bundle" else front.contents.table
    idx = shelf.ids.idx(aim.id)
    if aim.kind == "bundle":
        bundle = front.bundles.table.bundles[idx] if idx >= 0 else None
        return bundle.product_ids if bundle else ()
    content = front.contents.table.contents[idx] if idx >= 0 else None
    return content.product_ids if content else ()


def _like(new: Int32s, items: ItemTable, n_items: int) -> Int32s:
    """Return trained products of the categories of those that came since: int32 [n], ascending."""
    wanted = items.category[new]
    inside = np.isin(items.category[:n_items], wanted[wanted >= 0])
    return np.flatnonzero(inside).astype(np.int32)
