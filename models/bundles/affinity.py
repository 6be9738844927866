"""Which bundle for which customer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s
from features.dataset import Dataset
from features.history import DAY_US
from models.arrivals import grown_to
from models.bundles.table import BundleTable
from models.items import ItemTable
from models.query import Query
from models.seams import CandidateSource


class AffinityConfig(BaseModel):
    """Settings of what makes bundles for customers rank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(60.0, gt=0, description="A purchase this old counts half of one today.")


@dataclass(frozen=True, eq=False)
class BundleAffinity:
    """What customers did with bundles.

    Attributes
    ----------
    weight : float32 [n_bundles]
        Decayed purchases of each.
    """

    weight: Float32s

    @classmethod
    def empty(cls) -> Self:
        """Know of no bundle."""
        return cls(np.empty(0, np.float32))

    def score(self, query: Query, table: BundleTable, items: ItemTable) -> Float32s:
        """Score every bundle for a customer: float32 [n_bundles]."""
        del query, items
        return grown_to(len(table), np.array(self.weight), 0.0)


def fit_affinity(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: AffinityConfig, rng: np.random.Generator
) -> BundleAffinity:  # fmt: skip
    """Count decayed purchases."""
    del sources, rng
    bought = dataset.bundle_events.purchases
    vote = np.exp2(-(dataset.as_of - bought.at) / DAY_US / config.half_life_days)
    return BundleAffinity(np.bincount(bought.item_idx, vote, len(dataset.bundles)).astype(np.float32))
