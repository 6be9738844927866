"""`completion`: the product that is missing beside those of a basket.

Words, what was bought together, the shop's bundles, kinds and the customer's own habits each speak for a product; how
much each counts is learned from baskets, or from bundles, with one product hidden (`models.completion.lessons`).
Counting alone fails on the long tail, where hardly any product was ever sold beside another; words alone do not know
what is bought together without a word in common.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s
from features.dataset import Dataset
from models.completion.lessons import (
    Baskets,
    Profile,
    Teacher,
    basket_questions,
    bundle_questions,
    latest_baskets,
    read_baskets,
)
from models.completion.order import by_rule, learn_order
from models.completion.signals import Companions, Question, Signals, bundle_matrix, pulls
from models.completion.wording import Wording, WordingConfig
from models.query import NO_ITEMS, NOTHING, Candidates, Query, top_candidates
from models.rank.ranker import Forests, RankerConfig, RankingRows
from models.recommenders.evidence import EvidenceConfig, read_profile, score_of_listed
from models.recommenders.itemknn import ItemKnnConfig, find_neighbours


class CompletionConfig(BaseModel):
    """Settings of `completion`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: int = Field(20, ge=1, description="Most products of a basket that are looked at: the last ones named.")
    candidates: int = Field(100, ge=1, le=5000, description="Products that each signal brings into question.")
    half_life_days: float = Field(90.0, gt=0, description="A purchase this old counts half as a habit.")
    baskets: int = Field(
        1000, ge=1, description="Most baskets learned from; about half of them teach. Twice as many taught no more."
    )
    words: WordingConfig = Field(default=WordingConfig(), description="How descriptions are read.")
    walk: ItemKnnConfig = Field(default=ItemKnnConfig(alpha=0.8), description="The walk over baskets.")
    ranker: RankerConfig = Field(
        default=RankerConfig(n_leaves=7, min_rows_in_leaf=100, learning_rate=0.05, n_trees=150, max_questions=2000),
        description="Settings of the learned order.",
    )
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class CompletionModel:
    """What goes with what.

    Attributes
    ----------
    forests : Forests
        The learned order; empty where there was too little to learn from or nothing gained by it: a rule orders then.
    note : str
        What was learned from how much, in words.
    """

    config: CompletionConfig
    wording: Wording
    companions: Companions
    forests: Forests
    note: str = ""

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return what completes the basket (the seeds, else the latest of the history); nothing for a stranger."""
        return top_candidates(*self._scored(query), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """How well each completes the basket: float32 [n] within (0, 1), NaN for what does not come into question."""
        return score_of_listed(item_idx, *self._scored(query))

    def because(self, query: Query, item_idx: int) -> int:
        """Return the product of the basket that speaks most for another, -1 when none does."""
        question = self._question(query)
        if not len(question.seeds) or item_idx >= len(self.companions.sold):
            return -1
        told = pulls(question, self.wording, self.companions, item_idx)
        best = int(np.argmax(told))
        return int(question.seeds[best]) if told[best] > 0 else -1

    def _question(self, query: Query) -> Question:
        c, n_items = self.config, len(self.companions.sold)
        profile = Profile(c.seeds, c.half_life_days, n_items, c.evidence)
        if len(query.seeds):
            known = query.seeds[(query.seeds >= 0) & (query.seeds < n_items)][-c.seeds :]
            return Question(np.unique(known).astype(np.int32), profile.own(query.history, query.moment))
        seeds, _ = read_profile(query, c.evidence, c.half_life_days, n_items, c.seeds)
        return Question(seeds, profile.own(query.history, query.moment))

    def _scored(self, query: Query) -> tuple[Int32s, Float32s]:
        question = self._question(query)
        if not len(question.seeds):
            return NOTHING.item_idx, NOTHING.score
        signals = Signals.of(question, self.wording, self.companions)
        found = signals.candidates(self.config.candidates)
        if not len(found):
            return NOTHING.item_idx, NOTHING.score
        matrix = signals.matrix(found)
        raw = self.forests.ordered(matrix)[0] if self.forests.boosters else by_rule(matrix)
        return found, (1.0 / (1.0 + np.exp(-raw))).astype(np.float32)


def fit_completion(dataset: Dataset, config: CompletionConfig, rng: np.random.Generator) -> CompletionModel:
    """Read the words, count what was together, and learn from what was hidden.

    Cost linear in the texts and in Σ basket sizes²; a question to learn from costs what an answer does.
    """
    wording = Wording.fit(dataset.products.frame, config.words, rng)
    baskets, parts = read_baskets(dataset), _parts(dataset)
    seed = int(rng.integers(2**31 - 1))
    served, lessons = teach_completion(dataset, baskets, parts, wording, config, rng)
    forests, note = learn_order(lessons, config.ranker, seed)
    if len(lessons.sizes) < config.ranker.least_questions:
        served = _companions(dataset, baskets, parts, config)
    return CompletionModel(config, wording, served, forests, note)


def teach_completion(
    dataset: Dataset, baskets: Baskets, parts: sp.csr_array, wording: Wording, config: CompletionConfig,
    rng: np.random.Generator,
) -> tuple[Companions, RankingRows]:  # fmt: skip
    """Return what is served with, and the lessons of how to order it: from baskets, else from bundles."""
    asked = latest_baskets(baskets)
    if len(asked) >= config.ranker.least_questions:
        before = baskets.of(np.flatnonzero(baskets.at < baskets.at[asked[0]]))
        if len(asked) > config.baskets:
            asked = np.sort(rng.choice(asked, config.baskets, replace=False))
        teacher = Teacher(wording, _companions(dataset, before, parts, config), config.candidates, config.ranker)
        profile = Profile(config.seeds, config.half_life_days, len(dataset.products), config.evidence)
        lessons = teacher.rows(basket_questions(dataset, baskets, asked, profile, rng), rng)
        return _companions(dataset, baskets, parts, config), lessons
    # A bundle that was bought is in the baskets whole: neither lessons nor answers look at them then.
    unsold = _companions(dataset, baskets.of(np.empty(0, np.int64)), parts, config)
    teacher = Teacher(wording, unsold, config.candidates, config.ranker)
    questions: Iterator[tuple[Question, int]] = bundle_questions(parts, config.ranker.max_questions, config.seeds, rng)
    return unsold, teacher.rows(questions, rng)


def _companions(dataset: Dataset, baskets: Baskets, parts: sp.csr_array, config: CompletionConfig) -> Companions:
    kind, kinds = dataset.products.codes("category")
    sold = np.asarray(baskets.items.sum(axis=0)).ravel() / max(len(baskets.at), 1)
    walk = find_neighbours(baskets.items, config.walk)
    return Companions(walk, sold.astype(np.float32), parts, kind, len(kinds))


def _parts(dataset: Dataset) -> sp.csr_array:
    frame = dataset.bundles.frame
    told = frame["product_ids"].to_list() if "product_ids" in frame.columns else []
    held = [dataset.products.ids.idxs(product_ids or []) for product_ids in told]
    return bundle_matrix([each[each >= 0] for each in held] or [NO_ITEMS], len(dataset.products))
