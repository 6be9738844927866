"""Part `bundles`: what a release knows of bundles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s
from features.dataset import Dataset
from features.history import DAY_US
from models.seams import CandidateSource


class BundleConfig(BaseModel):
    """Settings of `bundles`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(60.0, gt=0, description="A purchase this old counts half of one today.")


@dataclass(frozen=True, eq=False)
class BundleModel:
    """What customers did with bundles.

    Attributes
    ----------
    weight : float32 [n_bundles]
        Decayed purchases of each.
    """

    config: BundleConfig
    weight: Float32s

    @classmethod
    def empty(cls) -> Self:
        """Return the part of a release that was made before there was one."""
        return cls(BundleConfig(), np.empty(0, np.float32))


def fit_bundles(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: BundleConfig, rng: np.random.Generator
) -> BundleModel:  # fmt: skip
    """Count decayed purchases."""
    del sources, rng
    bought = dataset.bundle_events.purchases
    age_days = (dataset.as_of - bought.at) / DAY_US
    vote = np.exp2(-age_days / config.half_life_days)
    return BundleModel(config, np.bincount(bought.item_idx, vote, len(dataset.bundles)).astype(np.float32))
