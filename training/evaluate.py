"""Evaluation: the serving pipeline and the honest baselines asked the same questions about the same customers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float64s, Int32s
from features.columns import ItemKind
from features.dataset import build_dataset
from features.erasure import read_erased
from features.lake import Lake
from features.shop import Shop
from models.config import SceneConfig
from models.gather import gather_candidates
from models.query import NOTHING, Query
from models.release import Release
from models.rng import derived_rng
from models.slate import Request
from models.trained import Models
from training.baselines import FREQUENCY, POPULARITY, Baselines, buyer_share, fit_baselines
from training.fit import FitScope, fit_models
from training.metrics import (
    Interval,
    ItemSets,
    Reach,
    bootstrap_intervals,
    coverage,
    judge,
    mean_reach,
    means,
    measure_reach,
)
from training.progress import ProgressReport, Quiet
from training.questions import Question, scene_questions
from training.settings import TrainingSettings
from training.split import Split, split_dataset
from training.workers import answer_all

POND: Final = "pond"
INCUMBENT: Final = "incumbent"
COMPARED: Final = ("recall", "ndcg", "hit_rate", "mrr")
LENGTHS: Final = (0, 1, 2, 4, 8, 16, 32, 64)
HEAVY_SHARE: Final = 0.2
PROBED: Final = 200


class LengthRow(BaseModel):
    """Customers with `low` to `high` known baskets (`high` none: and more), and each system's mean recall."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int
    high: int | None
    n: int
    recall: dict[str, float]


class SceneReport(BaseModel):
    """How one scene did. Metrics are named `recall@10`; systems are pond, the baselines and perhaps the incumbent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scene: str
    n_customers: int
    metrics: dict[str, dict[str, Interval]] = Field(description="By system, then metric")
    coverage: dict[str, dict[str, float]] = Field(description="By system: share of the showable items shown to anybody")
    differences: dict[str, dict[str, Interval]] = Field(description="pond minus the other system, same customers")
    slices: dict[str, dict[str, dict[str, float]]] = Field(description="By slice (cold, warm, heavy), system, metric")
    slice_sizes: dict[str, int]
    stage_share: dict[str, float] = Field(description="Share of the places that each source filled")
    reach: Reach = Field(description="What the sources' candidates hold of the truth, some 200 customers")
    by_length: tuple[LengthRow, ...]


class EvaluationReport(BaseModel):
    """A full report; JSON keeps all of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    part: str
    horizon_days: int
    known_until: int = Field(description="UTC µs: the latest moment known to the fit")
    note: str
    n_customers: int
    scenes: dict[str, SceneReport]

    def figures(self, system: str = POND) -> dict[str, float]:
        """Flat figures of one system: `home.recall@10` …, for manifests and trackers."""
        flat: dict[str, float] = {}
        for name, scene in self.scenes.items():
            flat |= {f"{name}.{metric}": value.mean for metric, value in scene.metrics[system].items()}
            flat |= {f"{name}.{metric}": value for metric, value in scene.coverage[system].items()}
        return flat


def nothing_judged(reason: str, as_of: int) -> EvaluationReport:
    """Return the report of a shop in which nobody can be judged yet."""
    return EvaluationReport(
        protocol="none", part="test", horizon_days=0, known_until=as_of, note=reason, n_customers=0, scenes={}
    )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A report and, for tests of differences, each system's values per customer: scene → system → metric → [n]."""

    report: EvaluationReport
    values: Mapping[str, Mapping[str, Mapping[str, Float64s]]]


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """What the pipeline showed (int32 [k], -1 padded), which source filled each place, and what its sources found."""

    shown: Int32s
    stages: tuple[str, ...]
    reach: Reach | None


def evaluate(
    split: Split, systems: Mapping[str, Models], settings: TrainingSettings, progress: ProgressReport | None = None
) -> Evaluation:
    """Ask every system about every case of a split, in every scene of the settings.

    `systems` names models fitted on `split.known`; the first must be `pond`. The baselines are added.
    """
    progress = progress or Quiet()
    first = systems[POND]
    everything = np.arange(len(split.known.products), dtype=np.int32)
    latest = max(case.at for case in split.cases)
    showable = first.items.showable(everything, latest)
    baselines = fit_baselines(split.known, showable)
    share = buyer_share(split.known)
    scenes: dict[str, SceneReport] = {}
    values: dict[str, dict[str, dict[str, Float64s]]] = {}
    asked = {scene: _probed(_asked(split, scene, first, settings)) for scene in settings.scenes}
    asked = {scene: questions for scene, questions in asked.items() if questions}
    answered = {name: _answers(name, models, asked, settings, progress) for name, models in systems.items()}
    for scene, questions in asked.items():
        shown = {name: np.stack([a.shown for a in found[scene]]) for name, found in answered.items()}
        shown |= _baseline_lists(first, baselines, questions, first.config.all_scenes[scene])
        sheet = _Sheet(split, scene, questions, shown, share, int(showable.sum()), settings)
        values[scene] = sheet.values()
        scenes[scene] = sheet.report(values[scene], answered[POND][scene])
    report = EvaluationReport(
        protocol=split.protocol, part=split.part, horizon_days=split.horizon_days, note=split.note,
        known_until=latest, n_customers=len(split.cases), scenes=scenes,
    )  # fmt: skip
    return Evaluation(report, values)


def evaluate_release(
    shop: Shop, release: Release, settings: TrainingSettings, progress: ProgressReport | None = None
) -> Evaluation:
    """Judge a release's recipe on the test part of what the shop knew at its `as_of`.

    The release itself has seen the truth (it is refitted on everything before it is published), so its configuration
    is fitted again on the known part.
    """
    dataset = build_dataset(
        Lake(shop.lake_dir), shop.name, shop.timezone, release.manifest.as_of, read_erased(shop),
        obeys_later_words=True,
    )  # fmt: skip
    split = split_dataset(dataset, settings)
    return evaluate(
        split,
        {
            POND: fit_models(
                split.known, release.models.config, settings, progress, scope=FitScope(judged=settings.scenes)
            ).models
        },
        settings,
        progress,
    )


def answer_questions(models: Models, questions: Sequence[Question]) -> list[Answer]:
    """Answer through the serving pipeline (run in worker processes)."""
    return [_answer(models, question) for question in questions]


def _query(models: Models, question: Question) -> Query:
    return models.query(question.case.customer_idx, question.at, question.tail)


def _answer(models: Models, question: Question) -> Answer:
    query = _query(models, question)
    slate = models.storefront.recommend(Request(query, question.scene, question.k))
    picks = [pick for pick in slate.picks if pick.kind is ItemKind.product]  # of a mixed slate the rest is not judged
    shown = np.full(question.k, -1, np.int32)
    shown[: len(picks)] = [pick.item_idx for pick in picks]
    stages = tuple(pick.stage for pick in picks)
    return Answer(shown, stages, _reach(models, query, question) if question.probed else None)


def _reach(models: Models, query: Query, question: Question) -> Reach:
    recipe = models.config.all_scenes[question.scene]
    found, _ = gather_candidates(models.sources, recipe.model_copy(update={"depth": 1}), query)
    # A source that cannot serve this customer finds nothing of his.
    asked = {name: found.get(name, NOTHING).item_idx for name in recipe.sources if name in models.sources}
    return measure_reach(asked, question.truth)


def _asked(split: Split, scene: str, models: Models, settings: TrainingSettings) -> list[Question]:
    return scene_questions(split, scene, models.config.all_scenes[scene], max(settings.k))


def _probed(questions: list[Question]) -> list[Question]:
    """Mark every n-th question, so that some `PROBED` of them also ask each source alone."""
    step = max(1, len(questions) // PROBED)
    return [replace(q, probed=True) if row % step == 0 else q for row, q in enumerate(questions)]


def _answers(
    system: str, models: Models, asked: Mapping[str, list[Question]], settings: TrainingSettings,
    progress: ProgressReport,
) -> dict[str, list[Answer]]:  # fmt: skip
    """Answer the questions of all scenes in one go: processes are started once."""
    every = [question for questions in asked.values() for question in questions]
    with progress.step(f"judge {system}", len(every)) as advance:
        chunks = answer_all(models, answer_questions, every, settings.workers, advance)
    answers = iter([answer for chunk in chunks for answer in chunk])
    return {scene: list(islice(answers, len(questions))) for scene, questions in asked.items()}


def _baseline_lists(
    models: Models, baselines: Baselines, questions: list[Question], recipe: SceneConfig
) -> dict[str, Int32s]:
    lists = {name: np.full((len(questions), questions[0].k), -1, np.int32) for name in (POPULARITY, FREQUENCY)}
    for row, question in enumerate(questions):
        history = _query(models, question).history
        popular = baselines.rank_by_popularity(history, question.k, recipe.repeat_policy)
        frequent = baselines.rank_by_frequency(history, question.k, recipe.repeat_policy)
        lists[POPULARITY][row, : len(popular)] = popular
        lists[FREQUENCY][row, : len(frequent)] = frequent
    return lists


@dataclass(frozen=True, eq=False)
class _Sheet:
    """One scene's rankings of all systems, and the figures made of them."""

    split: Split
    scene: str
    questions: list[Question]
    shown: dict[str, Int32s]
    share: Float64s
    n_showable: int
    settings: TrainingSettings

    def values(self) -> dict[str, dict[str, Float64s]]:
        """Every metric at every k of every system, per customer."""
        n_items, events = len(self.share), self.split.known.product_events
        truth = ItemSets.of([q.truth for q in self.questions], n_items)
        known = ItemSets.of([events.of(q.case.customer_idx).purchases.item_idx for q in self.questions], n_items)
        return {
            system: {
                f"{metric}@{k}": value
                for k in self.settings.k
                for metric, value in judge(shown[:, :k], truth, known, self.share).items()
            }
            for system, shown in self.shown.items()
        }

    def report(self, values: Mapping[str, Mapping[str, Float64s]], answers: list[Answer]) -> SceneReport:
        """Put the figures together."""
        baskets = self._baskets()
        slices = _slices(baskets)
        return SceneReport(
            scene=self.scene,
            n_customers=len(self.questions),
            metrics={system: self._intervals(found, system) for system, found in values.items()},
            coverage={
                system: {f"coverage@{k}": coverage(shown[:, :k], self.n_showable) for k in self.settings.k}
                for system, shown in self.shown.items()
            },
            differences={
                system: self._intervals(self.difference(values, system), f"{POND} - {system}")
                for system in values
                if system != POND
            },
            slices={
                name: {system: means({m: v[rows] for m, v in found.items()}) for system, found in values.items()}
                for name, rows in slices.items()
            },
            slice_sizes={name: len(rows) for name, rows in slices.items()},
            stage_share=_shares([stage for answer in answers for stage in answer.stages]),
            reach=mean_reach([answer.reach for answer in answers if answer.reach is not None]),
            by_length=tuple(self._by_length(values, baskets)),
        )

    def difference(self, values: Mapping[str, Mapping[str, Float64s]], system: str) -> dict[str, Float64s]:
        """Pond minus another system, customer by customer."""
        wanted = [f"{metric}@{k}" for k in self.settings.k for metric in COMPARED]
        return {name: values[POND][name] - values[system][name] for name in wanted}

    def _intervals(self, found: Mapping[str, Float64s], what: str) -> dict[str, Interval]:
        rng = derived_rng(self.settings.seed, "bootstrap", self.scene, what)
        return bootstrap_intervals(found, rng, self.settings.bootstrap_samples)

    def _baskets(self) -> Int32s:
        events = self.split.known.product_events
        known = [events.of(q.case.customer_idx).purchases.order_idx for q in self.questions]
        return np.array([len(np.unique(order)) for order in known], np.int32)

    def _by_length(self, values: Mapping[str, Mapping[str, Float64s]], baskets: Int32s) -> list[LengthRow]:
        rows, metric = [], f"recall@{self.settings.k[0]}"
        for low, high in zip(LENGTHS, (*(n - 1 for n in LENGTHS[1:]), None), strict=True):
            inside = (baskets >= low) & (baskets <= (high if high is not None else baskets.max(initial=0)))
            if inside.any():
                recall = {system: float(found[metric][inside].mean()) for system, found in values.items()}
                rows.append(LengthRow(low=low, high=high, n=int(inside.sum()), recall=recall))
        return rows


def _slices(baskets: Int32s) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.intp]]"]:
    """Cold: nothing bought before; heavy: the fifth of the others with most baskets; warm: the rest."""
    known = baskets[baskets > 0]
    least = float(np.quantile(known, 1 - HEAVY_SHARE)) if len(known) else np.inf
    masks = {
        "cold": baskets == 0,
        "warm": (baskets > 0) & (baskets < least),
        "heavy": (baskets > 0) & (baskets >= least),
    }
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if mask.any()}


def _shares(stages: Sequence[str]) -> dict[str, float]:
    names, counts = np.unique(np.array(stages, np.str_), return_counts=True)
    return {str(name): int(count) / len(stages) for name, count in zip(names, counts, strict=True)}
