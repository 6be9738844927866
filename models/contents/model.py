"""Part `contents`: what a release knows of contents and their readers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from features.arrays import Float32s
from features.dataset import Dataset
from models.contents.choice import embeddings
from models.contents.config import ContentConfig
from models.contents.lessons import Judged, Lessons, judge_contents, learn_lessons
from models.contents.present import Present, describe
from models.contents.pulse import Pulse, Readings
from models.contents.signals import SIGNALS
from models.contents.table import ContentTable
from models.contents.taste import Taste, fit_taste
from models.forgetting import Gone
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.items import ItemTable
from models.rank.ranker import Forests, grow_forests
from models.recommenders.content_based import ContentBasedConfig, Wording, fit_wording
from models.seams import CandidateSource


@dataclass(frozen=True, eq=False)
class ContentModel:
    """What customers did with contents, and what was learned from it.

    Attributes
    ----------
    pulse : Pulse
        How contents were being read when the release was made.
    taste : Taste
    wording : Wording
    words : float32 [n_contents, dim]
    index : FaissIndex
        Over text and taste side by side.
    forests : Forests
        The learned order; none where there was too little to learn from, or nothing gained by it.
    judged : dict
        Hit rate among ten on the latest readings, by system, and how many there were (`Judged`).
    note : str
        What was learned from how much, in words.
    """

    config: ContentConfig
    pulse: Pulse
    taste: Taste
    wording: Wording
    words: Float32s
    index: FaissIndex
    forests: Forests
    judged: dict[str, float]
    note: str

    @classmethod
    def empty(cls) -> Self:
        """Return the part of a release that was made before there was one."""
        taste, wording = Taste.none(0), Wording.empty()
        words = wording.directions([])
        index = build_index(embeddings(words, np.zeros((0, 1), np.float32)))
        return cls(ContentConfig(), Pulse.silent(0, 0), taste, wording, words, index, Forests((), ()), {}, "")

    @property
    def vectors(self) -> Float32s:
        """Text and taste of each content side by side, as the index holds them: float32 [n_contents, dim]."""
        return embeddings(self.words, self.taste.of_contents(self.pulse.groups))

    def present(self, table: ContentTable) -> Present:
        """Return the contents of a table as they were when the release was made."""
        return Present.of(table, self.wording, self.words, self.taste, self.pulse)

    def without(self, gone: Gone) -> Self:
        """Return the part with nobody knowing any more what group some customers belonged to.

        Counts of readings stay: nobody can be read back from them.
        """
        return replace(self, taste=self.taste.without(gone))


def fit_contents(
    dataset: Dataset, sources: Mapping[str, CandidateSource], config: ContentConfig, rng: np.random.Generator
) -> ContentModel:  # fmt: skip
    """Count readings, make groups of readers, read the texts, and learn an order from readings of the past.

    The order is judged on the latest readings by what was learned from those before; one that is no better than the
    rule (freshness first) is left out.
    """
    del sources
    if not len(dataset.contents):
        return replace(ContentModel.empty(), config=config)
    seeds = [int(seed) for seed in rng.integers(2**31 - 1, size=3)]
    table = ContentTable.of(dataset.contents.ids, dataset.contents.frame)
    described = describe(table.contents)
    wording = fit_wording(described, ContentBasedConfig(dim=config.text_dim), seeds[0])
    words = wording.directions(described)
    items = ItemTable.of(dataset.products)
    lessons = learn_lessons(dataset, Present.of(table, wording, words, *_silent(dataset)), items, config, seeds[1])
    judged, forests = _ordered(lessons, config, seeds[2])
    taste = fit_taste(dataset, config.taste_dim, config.groups, seeds[1])
    pulse = Pulse.silent(len(table), taste.n_groups)
    pulse.take(Readings.of(dataset.content_events, taste.group_of))
    index = build_index(embeddings(words, taste.of_contents(pulse.groups)))
    return ContentModel(config, pulse, taste, wording, words, index, forests, judged.figures, judged.note)


def _silent(dataset: Dataset) -> tuple[Taste, Pulse]:
    return Taste.none(len(dataset.customers)), Pulse.silent(len(dataset.contents), 0)


def _ordered(lessons: Lessons, config: ContentConfig, seed: int) -> tuple[Judged, Forests]:
    """Judge an order learned from all lessons but the latest on these, and learn it from all if it is worth it."""
    none = Forests((), ())
    rows = lessons.rows()
    if len(rows.sizes) < config.ranker.least_questions or not len(lessons.latest.sizes):
        return judge_contents(lessons, none, config.ranker.least_questions), none
    before = grow_forests(lessons.earlier, SIGNALS, config.ranker, seed) if len(lessons.earlier.sizes) else none
    judged = judge_contents(lessons, before, config.ranker.least_questions)
    return judged, grow_forests(rows, SIGNALS, config.ranker, seed) if judged.is_learned else none
