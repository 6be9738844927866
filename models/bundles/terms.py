"""The terms of one request: what the caller wishes, where he says nothing what the release says."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from models.bundles.assembly import CENT, STEP, steps_from
from models.bundles.model import BundleConfig
from models.items import ItemTable
from models.slate import Request


@dataclass(frozen=True, slots=True)
class Terms:
    """What every bundle of an answer keeps.

    Attributes
    ----------
    size_min, size_max : int or None
        As wished.
    target_price : float or None
        Most that a bundle may cost.
    reach : float or None
        Least that it must cost: what the basket leaves to the spend threshold; None: nothing is to be reached.
    discount : float
        Share taken off where the shop has set no price.
    margin_floor : float or None
    """

    size_min: int | None
    size_max: int | None
    target_price: float | None
    reach: float | None
    discount: float
    margin_floor: float | None

    @classmethod
    def of(cls, request: Request, items: ItemTable, config: BundleConfig) -> Self:
        """Settle them."""
        wishes, reach = request.bundle, None
        if wishes.spend_threshold is not None:
            basket = np.round(items.price[request.basket].astype(np.float64), 2)
            missing = round(wishes.spend_threshold - float(np.nansum(basket)), 2)
            reach = missing if missing > 0 else None
        return cls(
            wishes.size_min, wishes.size_max, wishes.target_price, reach,
            config.discount if wishes.discount is None else wishes.discount,
            config.margin_floor if wishes.margin_floor is None else wishes.margin_floor,
        )  # fmt: skip

    @property
    def aim(self) -> float | None:
        """The price to be near to."""
        return self.target_price if self.reach is None else self.reach

    def allow(self, n_parts: int, price: float | None, margin: float | None) -> bool:
        """Whether a bundle of that many parts, price and margin keeps them; what is not known keeps nothing."""
        least, most, floor = self.reach, self.target_price, self.margin_floor
        return (
            (self.size_min is None or n_parts >= self.size_min)
            and (self.size_max is None or n_parts <= self.size_max)
            and (most is None or (price is not None and price <= most + CENT))
            and (least is None or (price is not None and price >= least - CENT))
            and (floor is None or (margin is not None and margin >= floor - CENT))
        )

    def distance(self, price: float | None) -> int:
        """How many steps a price lies from the aim."""
        if self.aim is None or price is None:
            return 0
        return int(steps_from(self.aim, np.array([price]), STEP)[0])
