"""Part `bundles`: what a release knows of bundles, and of what may become one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.dataset import Dataset
from models.bundles.affinity import AffinityConfig, BundleAffinity, fit_affinity
from models.bundles.pairs import PairEvidence, PairsConfig, fit_pairs
from models.bundles.scenarios import Scenario
from models.bundles.space import ProductSpace
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.seams import CandidateSource


class BundleConfig(BaseModel):
    """Settings of `bundles`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: PairsConfig = Field(default=PairsConfig(), description="How what is bought together is counted.")
    affinity: AffinityConfig = Field(default=AffinityConfig(), description="Which bundle for which customer.")
    scenarios: tuple[Scenario, ...] = Field((), description="The shop's rules of what goes together.")
    just_bought_days: float = Field(
        7.0, ge=0, description="What a customer bought this lately is no part of a bundle for him; 0: may be."
    )
    discount: float = Field(0.0, ge=0, lt=1, description="Share taken off the parts' prices of a generated bundle.")
    margin_floor: float | None = Field(
        None, ge=-10, le=1, description="Least share of the price above the parts' costs; a bundle with a part whose "
        "cost is unknown is not shown then. None: no floor.",
    )  # fmt: skip
    least_pull: float = Field(
        0.5, ge=0, le=1, description="A further part must go with the start at least this much as the strongest one."
    )
    together: float = Field(0.5, ge=0, le=1, description="What the parts' pull on each other counts.")
    closeness: float = Field(0.5, ge=0, description="What words in common add to the word of two kinds of product.")
    kinds_may_repeat: bool = Field(
        default=False, description="Whether two products of one finest category (of a path of several) may be parts."
    )
    alike_words: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Products of one category that share so many words of their titles are variants.",
    )
    starts: int = Field(6, ge=1, le=50, description="Products of a customer's own that bundles are started from.")
    half_life_days: float = Field(60.0, gt=0, description="An event of a customer this old counts half for his starts.")

    @model_validator(mode="after")
    def _scenarios_differ(self) -> Self:
        names = [one.name for one in self.scenarios]
        if len(set(names)) < len(names):
            raise ValueError(f"scenarios: two have the same name ({', '.join(names)}); give each its own")
        return self


@dataclass(frozen=True, eq=False)
class BundleModel:
    """What is known of bundles and of products together.

    Attributes
    ----------
    affinity : BundleAffinity
        Which bundle for which customer.
    pairs : PairEvidence
        Which products go together.
    index : FaissIndex
        Directions of the bundles known at training, the mean of their parts' (`models.bundles.space`).
    knows_when : bool
        Whether what was bought has an order in time; without one nobody knows what was bought just now.
    """

    config: BundleConfig
    affinity: BundleAffinity = field(default_factory=BundleAffinity.empty)
    pairs: PairEvidence = field(default_factory=PairEvidence.empty)
    index: FaissIndex = field(default_factory=lambda: build_index(np.zeros((0, 1), np.float32)))
    knows_when: bool = True

    @property
    def just_bought_days(self) -> float:
        """Days for which a product that was bought is no part."""
        return self.config.just_bought_days if self.knows_when else 0.0

    @classmethod
    def empty(cls) -> Self:
        """Return the part of a release that was made before there was one."""
        return cls(BundleConfig())


def fit_bundles(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: BundleConfig, rng: np.random.Generator
) -> BundleModel:  # fmt: skip
    """Learn what goes together, where the shop's bundles lie, and which bundle for whom; on one thread."""
    space, frame = ProductSpace.of(sources), dataset.bundles.frame
    told = frame["product_ids"].to_list() if "product_ids" in frame.columns else [None] * len(frame)
    parts = [dataset.products.ids.idxs(product_ids or []) for product_ids in told]
    with threadpool_limits(1, "blas"):
        affinity = fit_affinity(dataset, sources, config.affinity, rng)
        pairs = fit_pairs(dataset, config.pairs)
    at = dataset.product_events.purchases.at
    knows_when = len(at) < 2 or int(at.min()) < int(at.max())
    return BundleModel(config, affinity, pairs, build_index(space.of_bundles(parts)), knows_when)
