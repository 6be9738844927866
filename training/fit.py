"""Fitting a whole recipe on one dataset: the sources, then the rankers that learn from how the sources did lately."""

from collections.abc import Collection, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.dataset import Dataset
from features.errors import NothingToJudge
from features.history import DAY_US
from features.item_facts import ItemFacts, fit_item_facts
from models.catalogue import PARTS, SOURCES
from models.config import PipelineConfig
from models.rank.blend import LearnedBlend
from models.rank.ranker import RankerModel, RankingRows
from models.rng import derived_rng
from models.seams import CandidateSource, TellingPart
from models.trained import Models
from training.blends import learn_blend
from training.memo import Memo
from training.progress import ProgressReport, Quiet
from training.ranking import learn_rankers, ranking_rows
from training.settings import TrainingSettings
from training.split import Split, split_all

LEARNED_BLENDS: Final = ("home", "next_basket", "discover", "rebuy")
MOST_HELD_OUT: Final = 0.5
SLOW: Final = ("completion", "itemknn", "hybrid", "als", "gf_cf", "sequence", "ease", "content_based")


@dataclass(frozen=True, eq=False)
class Fitted:
    """Models, what their rankers learned from, and a word on each ranker."""

    models: Models
    lessons: dict[str, RankingRows]
    notes: dict[str, str]


@dataclass(frozen=True, eq=False)
class FitScope:
    """What of a recipe is fitted, and what earlier fits of the same data may be taken again.

    Attributes
    ----------
    scenes : tuple of str or None
        Only what these scenes ask and their rankers; None: everything.
    memo : Memo
        Standard: remembers nothing.
    judged : tuple of str or None
        Scenes of products that will be judged: sources that neither they nor what is learned asks are left out, and so
        is what a release has beside its sources. None: nothing is left out.
    """

    scenes: tuple[str, ...] | None = None
    memo: Memo = field(default_factory=Memo)
    judged: tuple[str, ...] | None = None

    def sources(self, config: PipelineConfig) -> Collection[str] | None:
        """Sources to fit; None: all that are used."""
        if self.scenes is None and self.judged is None:
            return None
        asking = (*(self.judged or ()), *LEARNED_BLENDS) if self.scenes is None else self.scenes
        recipes = [config.all_scenes[name] for name in (*asking, *self.rankers(config))]
        return {name for recipe in recipes for name in recipe.asks}

    def rankers(self, config: PipelineConfig) -> tuple[str, ...]:
        """Scenes that a ranker is learned for."""
        wanted = None if self.scenes is None else {config.all_scenes[name].ranker for name in self.scenes}
        return tuple(name for name in config.ranked_scenes if wanted is None or name in wanted)

    def blended(self, config: PipelineConfig) -> tuple[str, ...]:
        """Scenes whose weights are learned where no ranker orders them: those that weigh as standard."""
        asked = LEARNED_BLENDS if self.scenes is None else [name for name in LEARNED_BLENDS if name in self.scenes]
        return tuple(name for name in asked if config.has_standard_blend(name))


EVERYTHING: Final = FitScope()


def fit_sources(
    dataset: Dataset,
    config: PipelineConfig,
    progress: ProgressReport | None = None,
    only: Collection[str] | None = None,
    memo: Memo | None = None,
    earlier: Models | None = None,
    n_threads: int = 2,
) -> Models:
    """Fit every source that a scene asks (or those named), each with a generator derived from (seed, name).

    `n_threads` sources at a time, each on one thread of its own (their libraries leave Python's lock while they
    compute) and with one BLAS thread: the same dataset, configuration and seed give the same arrays, whatever else the
    run does.
    What `earlier` models of this configuration made of the very same catalogue alone is taken from them.
    """
    progress, remembered = progress or Quiet(), memo or Memo()
    names = [name for name in config.used_sources if only is None or name in only]

    same_catalogue = earlier is not None and earlier.products.frame.equals(dataset.products.frame)

    def fit(name: str) -> CandidateSource:
        if earlier is not None and same_catalogue and SOURCES[name].of_catalogue and name in earlier.sources:
            advance(1)
            return earlier.sources[name]
        settings = config.source(name)
        key = (config.seed, settings.model_dump_json())
        source = remembered.once(
            (dataset, name), key, lambda: SOURCES[name].fit(dataset, settings, derived_rng(config.seed, name))
        )
        advance(1)
        return source

    step = progress.step(f"fit {', '.join(names)}", len(names))
    with threadpool_limits(limits=1), step as advance, ThreadPoolExecutor(n_threads) as pool:
        # The slow ones are started first, so that no thread is left alone with one at the end.
        waiting = {name: pool.submit(fit, name) for name in sorted(names, key=_slowest_first)}
        sources = {name: waiting[name].result() for name in names}
    return Models.of(dataset, config, sources)


def fit_parts(dataset: Dataset, models: Models) -> Models:
    """Fit what a release has beside its sources: contents, bundles …; each with a generator derived from its name."""
    with threadpool_limits(limits=1):
        beside = _parts(dataset, models.config, {}, of_sources=False)
        after = _parts(dataset, models.config, models.sources, of_sources=True)
    return replace(models, parts=beside | after)


def _parts(
    dataset: Dataset, config: PipelineConfig, sources: Mapping[str, CandidateSource], *, of_sources: bool
) -> dict[str, Any]:
    return {
        name: entry.fit(dataset, sources, config.part(name), derived_rng(config.seed, f"part {name}"))
        for name, entry in PARTS.items()
        if entry.of_sources == of_sources
    }


def _slowest_first(name: str) -> int:
    return SLOW.index(name) if name in SLOW else len(SLOW)


def fit_models(
    dataset: Dataset, config: PipelineConfig, settings: TrainingSettings, progress: ProgressReport | None = None,
    *, earlier: tuple[Split, Fitted] | None = None, scope: FitScope = EVERYTHING,
) -> Fitted:  # fmt: skip
    """Fit sources and parts on all of a dataset, and rankers on questions that its latest part answers.

    Parameters
    ----------
    earlier : (Split, Fitted), optional
        A split of this very dataset with models already fitted on its known part (an evaluation's): they are asked,
        nothing is fitted twice, and what they themselves learned from is learned from again.
    scope : FitScope
        Standard: everything, made anew.
    """
    progress = progress or Quiet()
    if scope.scenes is not None or scope.judged is not None:
        return _fit_products(dataset, config, settings, progress, earlier, scope)
    # Beside the sources, which leave one of two cores idle for half of the time. The limit of threads is the process's:
    # it stands around both, so that neither lifts it for the other.
    with threadpool_limits(limits=1), ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_parts, dataset, config, {}, of_sources=False)
        fitted = _fit_products(dataset, config, settings, progress, earlier, scope)
        with progress.step(f"fit {', '.join(PARTS)}"):
            parts = beside.result() | _parts(dataset, config, fitted.models.sources, of_sources=True)
    models = replace(fitted.models, parts={name: parts[name] for name in PARTS})
    telling = {**models.sources, **models.parts}.items()
    told = {name: part.note for name, part in telling if isinstance(part, TellingPart) and part.note}
    return replace(fitted, models=models, notes=fitted.notes | told)


def _fit_products(
    dataset: Dataset, config: PipelineConfig, settings: TrainingSettings, progress: ProgressReport,
    earlier: tuple[Split, Fitted] | None, scope: FitScope,
) -> Fitted:  # fmt: skip
    scenes, only, memo = scope.rankers(config), scope.sources(config), scope.memo
    blended = scope.blended(config) if settings.learn_blends else ()
    if not scenes and not blended:
        return Fitted(fit_sources(dataset, config, progress, only, memo), {}, {})
    try:
        split, before = earlier or _earlier(dataset, config, settings, progress, scope)
    except NothingToJudge:
        models = fit_sources(dataset, config, progress, only, memo)
        said = "standard weights: there is nothing to learn from yet"
        return Fitted(models, {}, dict.fromkeys((*scenes, *blended), said))
    fitted = _fit_and_learn(dataset, config, scope, progress, split, before)
    rankers, notes = fitted.models.rankers, fitted.notes
    blends: dict[str, LearnedBlend] = {}
    for scene in (name for name in blended if config.all_scenes[name].ranker not in rankers):
        with progress.step(f"learn to blend {scene}") as advance, threadpool_limits(limits=1):
            blend, said = learn_blend(before.models, split, scene, advance)
        notes[scene] = f"{notes[scene]}; {said}" if scene in notes else said
        blends |= {scene: blend} if blend else {}
    return replace(fitted, models=replace(fitted.models, blends=blends))


def _fit_and_learn(
    dataset: Dataset, config: PipelineConfig, scope: FitScope, progress: ProgressReport, split: Split, before: Fitted
) -> Fitted:
    """Fit the sources on everything, and beside them rankers on what the models before answer."""
    scenes, only, memo = scope.rankers(config), scope.sources(config), scope.memo
    lessons: dict[str, RankingRows] = {}
    learning: dict[str, Future[tuple[dict[str, RankerModel], dict[str, str]]]] = {}
    # Describing questions holds Python's lock, fitting sources mostly does not: a thread for each shares two cores
    # best. One BLAS thread: an answer solves systems so small that threads only wait for each other.
    # A scene's ranker is learned as soon as its questions are described, beside the next scene's.
    with threadpool_limits(limits=1), ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as learners:
        waiting = pool.submit(fit_sources, dataset, config, None, only, memo, before.models, n_threads=1)
        facts = memo.once((dataset, "facts"), (), partial(fit_item_facts, dataset))
        for scene in scenes:
            with progress.step(f"fit all sources; answered questions of {scene}") as advance:
                learned = memo.once(
                    (split, "questions", scene),
                    _asked_alike(before.models, scene),
                    partial(ranking_rows, before.models, dataset, split, scene, advance),
                )
            lessons[scene] = learned.then(before.lessons[scene]) if scene in before.lessons else learned
            learning[scene] = learners.submit(_ranker, dataset, config, facts, scene, lessons[scene], memo)
        with progress.step("fit all sources"):
            models = waiting.result()
        with progress.step("learn to rank"):
            learned_rankers = [learning[scene].result() for scene in scenes]
    rankers = {scene: ranker for made, _ in learned_rankers for scene, ranker in made.items()}
    notes = {scene: said for _, told in learned_rankers for scene, said in told.items()}
    return Fitted(replace(models, rankers=rankers), lessons, notes)


def _ranker(
    dataset: Dataset, config: PipelineConfig, facts: ItemFacts, scene: str, rows: RankingRows, memo: Memo
) -> tuple[dict[str, RankerModel], dict[str, str]]:
    """Learn a scene's ranker, unless the same was learned from the same rows before."""
    key = (rows, config.all_scenes[scene].heard, config.seed, config.ranker.model_dump_json())
    return memo.once((dataset, "ranker", scene), key, partial(learn_rankers, {scene: rows}, facts, config))


def _asked_alike(models: Models, scene: str) -> tuple[Hashable, ...]:
    """Everything that a scene's questions to some models depend on, the weights that choose what is ranked too."""
    config, recipe = models.config, models.config.all_scenes[scene]
    ordering = {"fallback", "category_decay", "category_depth"}
    return (
        *((name, models.sources[name]) for name in recipe.heard_sources), recipe.model_dump_json(exclude=ordering),
        config.seed, config.ranker.negatives, config.ranker.max_questions,
    )  # fmt: skip


def _earlier(
    dataset: Dataset, config: PipelineConfig, settings: TrainingSettings, progress: ProgressReport, scope: FitScope
) -> tuple[Split, Fitted]:
    """Split a dataset and fit what the rankers look at on its known part."""
    moments = dataset.product_events.at
    span_days = int(moments.max() - moments.min()) // DAY_US if len(moments) else 0
    days = min(settings.ranker_horizon_days, max(span_days // 4, 1))
    # Where nothing has an order the evaluation holds few items back; these questions hold back twice as many, so that
    # the rankers learn from sparse answers and from dense ones.
    share = min(2 * settings.hold_out_share, MOST_HELD_OUT)
    lately = settings.model_copy(update={"horizon_days": days, "hold_out_share": share})
    split = scope.memo.once((dataset, "split"), lately, partial(split_all, dataset, lately))
    # What only blends ask is not fitted once more for them: it keeps its standard weight until the release learns.
    learned = scope.rankers(config) or scope.blended(config)
    asked = {name for scene in learned for name in config.all_scenes[scene].heard_sources}
    return split, Fitted(fit_sources(split.known, config, progress, asked, scope.memo), {}, {})
