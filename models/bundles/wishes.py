"""What a caller may wish of bundles, and what a bundle in an answer says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Generated: TypeAlias = Literal["fill", "blend"]
MOST_PARTS: Final = 5


@dataclass(frozen=True, slots=True)
class BundleWishes:
    """Rules for one list of bundles; ids are the shop's.

    Attributes
    ----------
    item_ids : tuple of str
        Products that the bundles are about: parts of each, unless just bought.
    theme : str
        Only bundles of this theme, or about it; empty: any.
    exclude : tuple of str
        Products that are part of none, and bundles that are not shown.
    size_min, size_max : int or None
        Parts; None: two (with a basket: one) to three, to four where a price is aimed at.
    target_price : float or None
        A bundle costs no more, and nearly as much.
    spend_threshold : float or None
        With the basket a bundle costs as much at least, and little more.
    discount : float or None
        Share taken off the parts' prices of a generated bundle; None: the release's.
    margin_floor : float or None
        Least share of the price that remains above the parts' costs; None: the release's.
    generated : "fill" or "blend"
        Whether bundles put together for this answer follow the shop's own, or stand among them.
    """

    item_ids: tuple[str, ...] = ()
    theme: str = ""
    exclude: tuple[str, ...] = ()
    size_min: int | None = None
    size_max: int | None = None
    target_price: float | None = None
    spend_threshold: float | None = None
    discount: float | None = None
    margin_floor: float | None = None
    generated: Generated = "fill"


@dataclass(frozen=True, slots=True)
class BundleDetails:
    """What a bundle is made of and costs, in the shop's currency.

    Attributes
    ----------
    parts : tuple of int
        Indexes of its products.
    price, saving, margin : float or None
        Of the whole; saving against the parts bought alone; margin over their costs. None where not known.
    evidence : mapping of str to float
        What speaks for it, by name: counts, lift.
    roles : tuple of str
        What each part is there for; empty where nobody said.
    """

    parts: tuple[int, ...]
    price: float | None = None
    saving: float | None = None
    margin: float | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
