"""What an audience is sought for: one product or several, and what they are like."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from features.arrays import Bools, Int32s
from models.audience.crowd import Crowd


@dataclass(frozen=True, eq=False, slots=True)
class Target:
    """Products that count as one: whoever buys any of them has responded.

    Attributes
    ----------
    item_idx : int32 [n]
        Products the release knows, ascending.
    leaves, families, brands : int32 [n]
        Codes of `Crowd` that they have, ascending; also of products that came after training.
    n_new : int
        Products that came after training: nobody can have bought them in the release.
    """

    item_idx: Int32s
    leaves: Int32s
    families: Int32s
    brands: Int32s
    n_new: int = 0

    @classmethod
    def of(cls, crowd: Crowd, item_idx: Int32s, like: Int32s | None = None, n_new: int = 0) -> Self:
        """Look up what some products are like; `like` are trained products that those which came since resemble."""
        alike = item_idx if like is None else np.concatenate([item_idx, like])
        return cls(
            np.unique(item_idx).astype(np.int32), _codes(crowd.leaf, alike), _codes(crowd.family, alike),
            _codes(crowd.brand, item_idx), n_new,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.item_idx) + self.n_new

    def mask(self, n_items: int) -> Bools:
        """Which products belong to it: bool [n_items]."""
        return among(self.item_idx, n_items)


def among(chosen: Int32s, n: int) -> Bools:
    """Return bool [n]: which numbers are chosen."""
    mask = np.zeros(n, np.bool_)
    mask[chosen] = True
    return mask


def _codes(codes: Int32s, item_idx: Int32s) -> Int32s:
    found = np.unique(codes[item_idx])
    known: Int32s = found[found >= 0].astype(np.int32)
    return known
