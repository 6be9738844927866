"""Fitting a whole recipe on one dataset: the sources, then the rankers that learn from how the sources did lately."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.dataset import Dataset
from features.errors import ContractError
from features.history import DAY_US
from features.item_facts import fit_item_facts
from models.catalogue import SOURCES
from models.config import PipelineConfig
from models.rank.ranker import RankingRows
from models.release import Models
from models.rng import derived_rng
from models.seams import CandidateSource
from training.progress import ProgressReport, Quiet
from training.ranking import learn_rankers, ranking_rows
from training.settings import TrainingSettings
from training.split import Split, split_all

SLOW: Final = ("itemknn", "hybrid", "als", "content_based")


@dataclass(frozen=True, eq=False)
class Fitted:
    """Models, what their rankers learned from, and a word on each ranker."""

    models: Models
    lessons: dict[str, RankingRows]
    notes: dict[str, str]


def fit_sources(
    dataset: Dataset,
    config: PipelineConfig,
    progress: ProgressReport | None = None,
    only: Collection[str] | None = None,
) -> Models:
    """Fit every source that a scene asks (or those named), each with a generator derived from (seed, name).

    Two sources at a time, each on one thread of its own (their libraries leave Python's lock while they compute) and
    with one BLAS thread: the same dataset, configuration and seed give the same arrays, whatever else the run does.
    """
    progress = progress or Quiet()
    names = [name for name in config.used_sources if only is None or name in only]

    def fit(name: str) -> CandidateSource:
        source = SOURCES[name].fit(dataset, config.source(name), derived_rng(config.seed, name))
        advance(1)
        return source

    label = f"fit {', '.join(names)}"
    with threadpool_limits(limits=1), progress.step(label, len(names)) as advance, ThreadPoolExecutor(2) as pool:
        # The slow ones are started first, so that neither thread is left alone with one at the end.
        waiting = {name: pool.submit(fit, name) for name in sorted(names, key=_slowest_first)}
        sources = {name: waiting[name].result() for name in names}
    return Models.of(dataset, config, sources)


def _slowest_first(name: str) -> int:
    return SLOW.index(name) if name in SLOW else len(SLOW)


def fit_models(
    dataset: Dataset, config: PipelineConfig, settings: TrainingSettings, progress: ProgressReport | None = None,
    *, earlier: tuple[Split, Fitted] | None = None,
) -> Fitted:  # fmt: skip
    """Fit sources on all of a dataset, and rankers on questions that its latest part answers.

    Parameters
    ----------
    earlier : (Split, Fitted), optional
        A split of this very dataset with models already fitted on its known part (an evaluation's): they are asked,
        nothing is fitted twice, and what they themselves learned from is learned from again.
    """
    progress = progress or Quiet()
    scenes = config.ranked_scenes
    if not scenes:
        return Fitted(fit_sources(dataset, config, progress), {}, {})
    try:
        split, before = earlier or _earlier(dataset, config, settings, progress)
    except ContractError as error:
        return Fitted(fit_sources(dataset, config, progress), {}, dict.fromkeys(scenes, f"no ranker: {error}"))
    lessons = {}
    # Describing questions holds Python's lock, fitting sources mostly does not: they share the two cores well.
    # One BLAS thread: an answer solves systems so small that threads only wait for each other.
    with threadpool_limits(limits=1), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fit_sources, dataset, config)
        for scene in scenes:
            with progress.step(f"fit all sources; answered questions of {scene}") as advance:
                learned = ranking_rows(before.models, dataset, split, scene, advance)
            lessons[scene] = learned.then(before.lessons[scene]) if scene in before.lessons else learned
        with progress.step("fit all sources"):
            models = waiting.result()
    with progress.step("learn to rank"):
        rankers, notes = learn_rankers(lessons, fit_item_facts(dataset), config)
    return Fitted(replace(models, rankers=rankers), lessons, notes)


def _earlier(
    dataset: Dataset, config: PipelineConfig, settings: TrainingSettings, progress: ProgressReport
) -> tuple[Split, Fitted]:
    """Split a dataset and fit what the rankers look at on its known part."""
    moments = dataset.product_events.at
    span_days = int(moments.max() - moments.min()) // DAY_US if len(moments) else 0
    days = min(settings.ranker_horizon_days, max(span_days // 4, 1))
    split = split_all(dataset, settings.model_copy(update={"horizon_days": days}))
    asked = {name for scene in config.ranked_scenes for name in config.all_scenes[scene].sources}
    return split, Fitted(fit_sources(split.known, config, progress, asked), {}, {})
