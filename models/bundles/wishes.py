"""What a caller may wish of bundles, and what a bundle in an answer says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BundleWishes:
    """Rules for one list of bundles.

    Attributes
    ----------
    theme : str
        Only bundles of this theme; empty: any.
    """

    theme: str = ""


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
    """

    parts: tuple[int, ...]
    price: float | None = None
    saving: float | None = None
    margin: float | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
