"""Part `audience`: what a release knows to say who wants something now, and with which probability he buys it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float64s
from features.dataset import Dataset
from features.history import Histories
from models.audience.crowd import Crowd, see_crowd
from models.audience.lessons import Lessons, LessonsConfig, fit_logistic, lessons_of
from models.audience.target import Target
from models.audience.traits import RISING, TRAITS, Bought, bought_of, traits_of
from models.forgetting import Gone
from models.rank.ranker import Forests, TreesConfig, grow_binary
from models.recommenders.evidence import EvidenceConfig
from models.seams import CandidateSource


class AudienceConfig(BaseModel):
    """Settings of `audience`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lessons: LessonsConfig = Field(default=LessonsConfig(), description="What is learned from.")
    trees: TreesConfig = Field(default=TreesConfig(), description="How the trees grow.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class Calibration:
    """From the trees' log odds to a probability (Platt 1999): 1 / (1 + exp(-(slope · odds + intercept)))."""

    slope: float = 1.0
    intercept: float = 0.0

    def of(self, odds: Float64s) -> Float64s:
        """Return probabilities: float64 [n], in (0, 1)."""
        raised: Float64s = 1.0 / (1.0 + np.exp(-np.clip(self.slope * odds + self.intercept, -500, 500)))
        return raised


@dataclass(frozen=True, eq=False)
class AudienceModel:
    """The crowd at training, and trees that say who of it responds.

    Attributes
    ----------
    forests : Forests
        None in it where there was too little to learn from: then a rule orders the customers, without probabilities.
    """

    config: AudienceConfig
    crowd: Crowd
    forests: Forests
    calibration: Calibration

    @classmethod
    def empty(cls) -> Self:
        """Return the part of a release that was made before there was one."""
        return cls(AudienceConfig(), Crowd.empty(), Forests.of(()), Calibration())

    @property
    def is_learned(self) -> bool:
        """Whether it says probabilities."""
        return bool(self.forests.boosters)

    @property
    def horizon_days(self) -> int:
        """Days in which a customer who buys counts as one who responded."""
        return self.config.lessons.horizon_days

    def responses(self, target: Target, events: Histories) -> Float64s:
        """Return each customer's probability to buy any of the target's products within the horizon: float64 [n].

        `events` are the release's product events. Without trees the scores only order: decayed purchases of the target,
        then of its leaf, then baskets.
        """
        traits = traits_of(target, self.crowd, events)
        if not self.is_learned:
            rule = (traits[:, TRAITS.index(name)] for name in ("half_life_90d", "leaf_90d", "baskets_28d"))
            return np.sum([np.tanh(part / 4) * 100.0**-place for place, part in enumerate(rule)], axis=0)
        return self.calibration.of(self.forests.boosters[0].predict(traits, raw_score=True, num_threads=1))

    def bought(self, target: Target, events: Histories) -> Bought:
        """Return who bought any of the target and how many days before the release."""
        return bought_of(events, target.mask(self.crowd.n_items), self.crowd.as_of)

    def without(self, gone: Gone) -> Self:
        """Forget some customers: nothing of theirs is left in the crowd."""
        return replace(self, crowd=self.crowd.without(gone))


def fit_audience(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: AudienceConfig, rng: np.random.Generator
) -> AudienceModel:  # fmt: skip
    """Look at the crowd, and learn from how sales went on after earlier moments of the same data.

    The trees learn from all cuts. Their log odds are calibrated by a rehearsal: trees that know only the cuts before
    the last say what they expect after the last, so that what is corrected is the error of foretelling, not of fitting.
    """
    del sources  # fitted on everything: they would tell the lessons what came after their cuts
    crowd = see_crowd(dataset, config.evidence)
    lessons = lessons_of(dataset, config.lessons, config.evidence, rng)
    if not lessons or sum(int(one.bought.sum()) for one in lessons) < config.lessons.least_responses:
        return AudienceModel(config, crowd, Forests.of(()), Calibration())
    last, *earlier = lessons
    calibration = Calibration()
    if earlier:
        rehearsal = _grown(Lessons.joined(earlier), config.trees)
        odds = rehearsal.boosters[0].predict(last.traits, raw_score=True, num_threads=1)
        calibration = Calibration(*fit_logistic(odds, last.bought, last.weight))
    return AudienceModel(config, crowd, _grown(Lessons.joined(lessons), config.trees), calibration)


def _grown(lessons: Lessons, config: TreesConfig) -> Forests:
    return Forests.of([grow_binary(lessons.traits, lessons.bought, lessons.weight, TRAITS, RISING, config)])


