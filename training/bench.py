"""Where tuning judges a configuration: a past of its own, strictly before what `pond train` and `evaluate` judge on.

The evaluation's truth (its last days, last baskets or held-out items) is taken off the data first; what remains is cut
again by the same protocol. Nothing of a tuning depends on what customers did in the evaluation's truth.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from features.arrays import Bools, Float32s, Float64s
from features.dataset import Dataset
from features.errors import ContractError, UsageError
from models.config import PipelineConfig
from models.rng import derived_rng
from models.trained import Models
from training.evaluate import answer_questions
from training.fit import FitScope, fit_models
from training.memo import Memo
from training.metrics import ItemSets, ndcg
from training.questions import scene_questions
from training.settings import RunSettings, TrainingSettings
from training.split import Split, sampled, split_all
from training.workers import answer_all

K: Final = 10
LEAST_CUSTOMERS: Final = 30
CONFIRMING_SHARE: Final = 1 / 3
# Of each source, ranker and list: those of the best settings so far and of the trial that goes on.
REMEMBERED: Final = 2


def check_scenes(names: tuple[str, ...], config: PipelineConfig) -> None:
    """Refuse scenes that cannot be tuned; `UsageError`."""
    for name in names:
        if name not in config.all_scenes:
            raise UsageError(f"There is no scene '{name}'; choose from {', '.join(config.all_scenes)}.")
        if config.all_scenes[name].start_from != "history":
            raise UsageError(f"The scene '{name}' starts from items, not from a history; it cannot be tuned this way.")


def tuning_split(dataset: Dataset, settings: TrainingSettings) -> Split:
    """Cut off what the evaluation judges on, and split what remains in the same way.

    Raises `ContractError` when too little history remains.
    """
    judged = split_all(dataset, settings)
    same: dict[str, object] = {"protocol": judged.protocol}
    if judged.protocol == "time_split":
        same["horizon_days"] = judged.horizon_days
    again = settings.model_copy(update=same)
    try:
        split = sampled(split_all(judged.known, again), again)
    except ContractError as error:
        raise _too_little(0) from error
    if len(split.cases) < LEAST_CUSTOMERS or not len(split.known.product_events.purchases):
        raise _too_little(len(split.cases))
    return split


def _too_little(n_customers: int) -> ContractError:
    rule = (
        f"{n_customers} customers can be judged on what lies before the evaluation's part, and tuning needs "
        f"{LEAST_CUSTOMERS}; ingest more history, or set a shorter training.horizon_days."
    )
    return ContractError("events", "at", rule)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a configuration came to.

    Attributes
    ----------
    ndcg : float32 [n_scenes, n_customers]
        NDCG@10; NaN where a scene does not ask a customer.
    learned : tuple of str
        Rankers that there was enough to learn.
    """

    ndcg: Float32s
    learned: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Bench:
    """Judges configurations on one split; what two of them have in common is computed once.

    Attributes
    ----------
    searching : bool [n_customers]
        Customers whose figures choose; the others only confirm what was chosen, so that their interval is honest.
    """

    split: Split
    settings: TrainingSettings
    scenes: tuple[str, ...]
    searching: Bools
    scope: FitScope

    @classmethod
    def of(cls, dataset: Dataset, settings: RunSettings, scenes: tuple[str, ...]) -> "Bench":
        """Split a shop's dataset and draw who chooses."""
        # Weights are what is tuned here: learned ones would answer for the standard settings.
        training = settings.training.model_copy(update={"learn_blends": False})
        split = tuning_split(dataset, training)
        n = len(split.cases)
        drawn = derived_rng(training.seed, "confirming customers").permutation(n)
        searching = np.ones(n, np.bool_)
        searching[drawn[: round(CONFIRMING_SHARE * n)]] = False
        return cls(split, training, scenes, searching, FitScope(scenes, Memo(REMEMBERED)))

    def judge(self, config: PipelineConfig) -> Judged:
        """Fit a configuration on the known part and ask it about every customer, through the serving pipeline."""
        models = fit_models(self.split.known, config, self.settings, scope=self.scope).models
        rows = [self._remembered(models, scene) for scene in self.scenes]
        return Judged(np.stack(rows), tuple(models.rankers))

    def _remembered(self, models: Models, scene: str) -> Float32s:
        """Ask only when something that answers is another than before: memoized fits are the same objects."""
        recipe = models.config.all_scenes[scene]
        asked = tuple((name, models.sources[name]) for name in dict.fromkeys(recipe.asks))
        key = (asked, models.rankers.get(recipe.ranker), recipe.model_dump_json())
        return self.scope.memo.once(("ndcg", scene), key, partial(self._asked, models, scene))

    def _asked(self, models: Models, scene: str) -> Float32s:
        values = np.full(len(self.split.cases), np.nan, np.float32)
        questions = scene_questions(self.split, scene, models.config.all_scenes[scene], K)
        if not questions:
            return values
        chunks = answer_all(models, answer_questions, questions, self.settings.workers, lambda _: None)
        shown = np.stack([answer.shown for chunk in chunks for answer in chunk])
        truth = ItemSets.of([question.truth for question in questions], len(models.products.ids))
        row_of = {case.customer_idx: row for row, case in enumerate(self.split.cases)}
        values[[row_of[question.case.customer_idx] for question in questions]] = ndcg(truth.contain(shown), truth.sizes)
        return values


@dataclass(frozen=True, eq=False)
class Scale:
    """How figures of scenes become one score: the mean over scenes of NDCG@10 over that of the current settings.

    Relative to the current settings, a scene of small figures has as much to say as one of large figures.

    Attributes
    ----------
    weight : float64 [n_scenes]
        What a unit of NDCG of one choosing customer adds to the score; 0 for a scene where the current settings
        place nothing that was wanted, because nothing can be said relative to it.
    """

    weight: Float64s
    searching: Bools

    @classmethod
    def of(cls, current: Float32s, searching: Bools) -> "Scale":
        """Take the figures of the current settings."""
        total = np.nansum(current[:, searching].astype(np.float64), axis=1)
        counted = total > 0
        if not counted.any():
            raise ContractError(
                "events", "", "in no scene the current settings place anything that was wanted: tuning has no measure."
            )
        return cls(np.where(counted, 1.0 / np.where(counted, total, 1.0), 0.0) / counted.sum(), searching)

    def score(self, ndcg: Float32s) -> float:
        """1 for the current settings, more for better ones."""
        return float(self._by_customer(ndcg).sum())

    def gain(self, ndcg: Float32s, before: Float32s) -> tuple[float, float]:
        """Difference of two scores and its standard error, paired by customer over all scenes together."""
        difference = self._by_customer(ndcg) - self._by_customer(before)
        return float(difference.sum()), float(np.sqrt(len(difference)) * difference.std())

    def _by_customer(self, ndcg: Float32s) -> Float64s:
        return self.weight @ np.nan_to_num(ndcg[:, self.searching].astype(np.float64))
