"""Part `audience`: what a release knows to say who wants something now, and with which probability he buys it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Float64s, Int32s
from features.dataset import Dataset
from features.errors import ReleaseError
from features.history import Histories
from models.audience.crowd import Crowd, see_crowd
from models.audience.lessons import Lessons, LessonsConfig, fit_logistic, lessons_of
from models.audience.sales import sales_before
from models.audience.selection import Rules
from models.audience.target import Target
from models.audience.traits import RISING, TRAITS, traits_of
from models.forgetting import Gone
from models.rank.ranker import Forests, TreesConfig, grow_binary
from models.reasons import Days, Reason, reason
from models.recommenders.evidence import EvidenceConfig
from models.seams import CandidateSource

RULE: Final = ("half_life_90d", "leaf_90d", "baskets_28d")  # orders the customers where there are no trees


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


@dataclass(frozen=True, eq=False, slots=True)
class Responses:
    """What is expected of everybody for one target.

    Attributes
    ----------
    score : float64 [n_customers]
        Probability to buy any of its products within the horizon.
    traits : float32 [n_customers, n_traits]
        Columns `traits.TRAITS`.
    is_probability : bool
        False: the score only orders the customers, by a rule.
    """

    score: Float64s
    traits: Float32s
    is_probability: bool = True

    def under(self, rules: Rules) -> Rules:
        """Return the rules of a list as they can be kept: a score that is no probability falls below none."""
        return rules if self.is_probability else replace(rules, least_probability=0.0)

    @property
    def order(self) -> Int32s:
        """Customers who have ever done anything, the most likely first, ties by index: int32 [≤ n_customers]."""
        known = np.flatnonzero((self._of("baskets") > 0) | (self._of("looked") > 0) | (self._of("alike") > 0))
        ranked: Int32s = known[np.lexsort((known, -self.score[known]))].astype(np.int32)
        return ranked

    def days_since(self, customer_idx: int) -> float:
        """Days since a customer last bought any of it, before the release; NaN who never did."""
        return float(self.traits[customer_idx, TRAITS.index("days_since")])

    def reason_for(self, customer_idx: int, ago: float) -> Reason:
        """Say why a customer is in the list, to the one who sends; `ago` is how many days the release is old by now.

        What was bought since the release is not counted.
        """
        row = dict(zip(TRAITS, self.traits[customer_idx].tolist(), strict=True))
        if row["count"] > 0:
            n, days = int(row["count"]), int(row["days_since"] + ago)
            return reason("audience_bought", n=n, days=Days(days)) if days else reason("audience_bought_today", n=n)
        if row["looked"] > 0:
            return reason("audience_looked")
        if row["leaf_90d"] > 0 or row["family_90d"] > 0:
            return reason("audience_category")
        return reason("audience_alike" if row["alike"] > 0 else "audience_active")

    def _of(self, name: str) -> Float32s:
        column: Float32s = self.traits[:, TRAITS.index(name)]
        return column


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

    def responses(self, target: Target, events: Histories) -> "Responses":
        """Return what is expected of each customer; `events` are the release's product events.

        Cost: two passes over all events and one look of every tree at every customer.

        Raises
        ------
        ReleaseError
            The release was made before there were audiences.
        """
        if self.crowd.n_customers != events.n_customers:
            raise ReleaseError("This release was made before there were audiences; make a new one with `pond train`.")
        traits = traits_of(target, self.crowd, sales_before(self.crowd, events))
        # No lesson was ever about something that nobody had bought.
        if not self.is_learned or not traits[:, TRAITS.index("count")].any():
            rule = (traits[:, TRAITS.index(name)] for name in RULE)
            score = np.sum([np.tanh(part / 4.0) * 100.0**-place for place, part in enumerate(rule)], axis=0)
            return Responses(score, traits, is_probability=False)
        odds = self.forests.boosters[0].predict(traits, raw_score=True, num_threads=1)
        return Responses(self.calibration.of(odds), traits)

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
