"""Part `contents`: what a release knows of contents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s
from features.dataset import Dataset
from features.history import DAY_US
from models.seams import CandidateSource


class ContentConfig(BaseModel):
    """Settings of `contents`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_life_days: float = Field(1.0, gt=0, description="A reading this old counts half of one today.")


@dataclass(frozen=True, eq=False)
class ContentModel:
    """What customers did with contents.

    Attributes
    ----------
    weight : float32 [n_contents]
        Decayed readings of each.
    """

    config: ContentConfig
    weight: Float32s

    @classmethod
    def empty(cls) -> Self:
        """Return the part of a release that was made before there was one."""
        return cls(ContentConfig(), np.empty(0, np.float32))


def fit_contents(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: ContentConfig, rng: np.random.Generator
) -> ContentModel:  # fmt: skip
    """Count decayed readings."""
    del sources, rng
    read = dataset.content_events
    age_days = (dataset.as_of - read.at) / DAY_US
    vote = np.exp2(-age_days / config.half_life_days)
    return ContentModel(config, np.bincount(read.item_idx, vote, len(dataset.contents)).astype(np.float32))
