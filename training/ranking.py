"""What the rankers learn from: questions of the recent past, answered by what happened next (DESIGN §6).

A question is a customer at a moment after the cut; the sources are fitted on what lies before the cut, his history runs
to the moment itself, and the answer is what he bought then. So a ranker sees exactly what it will see when it serves:
sources a little older than the history. Nothing of a question's own basket, or later, is in any of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Bools, Int32s
from features.dataset import Dataset
from features.history import EMPTY, History
from features.item_facts import ItemFacts, fit_item_facts
from features.sentences import counted
from models.config import PipelineConfig, SceneConfig
from models.gather import ask_scorers, candidates_of, gather_candidates
from models.query import Query
from models.rank.blend import blend_by_rank
from models.rank.ranker import RankerModel, RankingRows, feature_names, fit_ranker, ranking_matrix
from models.rng import derived_rng, derived_seed
from models.trained import Models
from training.progress import Advance
from training.split import Split

BASKETS_PER_CUSTOMER: Final = 2


@dataclass(frozen=True, eq=False, slots=True)
class AnsweredQuestion:
    """A customer at a moment, what happened between the cut and it, and what he bought then (int32, ascending)."""

    customer_idx: int
    at: int
    tail: History
    truth: Int32s


def answered_questions(dataset: Dataset, split: Split, recipe: SceneConfig) -> Iterator[AnsweredQuestion]:
    """Yield the questions that a split of `dataset` answers for a scene.

    Scenes that allow repeats ask for each of the first baskets after the cut, at its moment; scenes without repeats ask
    at the cut for everything new that was bought after it.
    """
    for case in split.cases:
        if recipe.repeat_policy == "exclude":
            known = split.known.product_events.of(case.customer_idx).purchases.item_idx
            fresh = case.truth[~np.isin(case.truth, known)]
            if len(fresh):
                yield AnsweredQuestion(case.customer_idx, case.at, EMPTY, fresh)
            continue
        yield AnsweredQuestion(case.customer_idx, case.basket_at, case.tail, case.basket)
        if split.protocol == "time_split":
            yield from _later_baskets(dataset, split, case.customer_idx, case.basket_at)


def _later_baskets(dataset: Dataset, split: Split, customer_idx: int, first_at: int) -> Iterator[AnsweredQuestion]:
    after = dataset.product_events.of(customer_idx).before(split.until).since(split.known.as_of)
    bought = after.purchases
    for order in np.unique(bought.order_idx[bought.at > first_at])[: BASKETS_PER_CUSTOMER - 1]:
        lines = bought.order_idx == order
        at = int(bought.at[lines].min())
        if at > first_at:
            yield AnsweredQuestion(customer_idx, at, after.before(at), np.unique(bought.item_idx[lines]))


def ranking_rows(
    models: Models, dataset: Dataset, split: Split, scene: str, advance: Advance, facts: ItemFacts | None = None
) -> RankingRows:
    """Gather and describe the candidates of every answered question of a scene.

    `models` are fitted on `split.known`. Of the candidates that were not bought a seeded share is kept; questions whose
    candidates hold nothing that was bought teach no order and are left out.
    """
    config, recipe = models.config, models.config.all_scenes[scene]
    settings = config.ranker
    facts = facts or fit_item_facts(split.known)
    questions = list(answered_questions(dataset, split, recipe))
    rng = derived_rng(config.seed, "ranking rows", scene, str(split.known.as_of))
    if len(questions) > settings.max_questions:
        kept = np.sort(rng.choice(len(questions), settings.max_questions, replace=False))
        questions = [questions[i] for i in kept]
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for question in questions:
        query = models.query(question.customer_idx, question.at, question.tail)
        found, _ = gather_candidates(models.sources, recipe, query)
        blend = blend_by_rank(candidates_of(found, recipe), recipe.sources, recipe.rank_offset)
        item_idx = blend.of(_allowed(blend.item_idx, query, recipe)).head(recipe.ranked).item_idx
        wanted = np.isin(item_idx, question.truth, kind="table")
        advance(1)
        if not wanted.any() or wanted.all():
            continue
        found |= ask_scorers(models.sources, recipe, query, item_idx)[0]
        keep = wanted | (rng.random(len(item_idx)) < settings.negatives / max(len(item_idx), 1))
        item_idx, wanted = item_idx[keep], wanted[keep]
        parts.append((ranking_matrix(query, item_idx, found, recipe.heard, facts), wanted))
    width = len(feature_names(recipe.heard))
    return RankingRows(
        np.concatenate([m for m, _ in parts]) if parts else np.empty((0, width), np.float32),
        np.concatenate([w for _, w in parts]) if parts else np.empty(0, np.bool_),
        np.array([len(w) for _, w in parts], np.int64),
    )


def _allowed(item_idx: Int32s, query: Query, recipe: SceneConfig) -> Bools:
    if recipe.repeat_policy == "allow":
        return np.ones(len(item_idx), np.bool_)
    bought = np.isin(item_idx, query.history.purchases.item_idx, kind="table")
    return ~bought if recipe.repeat_policy == "exclude" else bought


def learn_rankers(
    rows: dict[str, RankingRows], facts: ItemFacts, config: PipelineConfig
) -> tuple[dict[str, RankerModel], dict[str, str]]:
    """Fit a ranker for every scene with enough answered questions; of the others say why the blend stays."""
    rankers, notes = {}, {}
    for scene, learned in rows.items():
        n = len(learned.sizes)
        if n < config.ranker.least_questions:
            notes[scene] = (
                f"{counted(n, 'answered question')}, fewer than {config.ranker.least_questions}: "
                f"the blend orders '{scene}'"
            )
            continue
        sources = config.all_scenes[scene].heard
        rankers[scene] = fit_ranker(learned, sources, facts, config.ranker, derived_seed(config.seed, "ranker", scene))
        notes[scene] = f"learned from {counted(n, 'answered question')}, {len(learned.wanted):,} candidates"
    return rankers, notes
