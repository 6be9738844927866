"""What the order of contents is learned from: readings of the past, each asked for as it would have been.

The readings are walked through in time. At some cuts the groups of readers are made anew from what lies before, as a
release would; between them the pulse goes on from reading to reading, as the service's does. So a lesson sees exactly
what an answer will see: groups a little older than the question, and everything that was read before it, by anybody.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.attributes import attributes_of
from features.clock import shop_day_start
from features.dataset import Dataset
from features.sentences import counted
from models.contents.choice import by_rule, embeddings, find_contents, signal
from models.contents.config import ContentConfig
from models.contents.present import Present
from models.contents.pulse import Pulse, Readings, is_reading
from models.contents.signals import SIGNALS, Reader, signal_matrix
from models.contents.taste import fit_taste
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.items import ItemTable
from models.query import Query
from models.rank.ranker import Forests, RankingRows

LISTED: Final = 10
LEARNED, RULE = "learned", "rule"


@dataclass(frozen=True, eq=False, slots=True)
class Lessons:
    """Answered questions to learn from.

    Attributes
    ----------
    earlier : RankingRows
        Of all segments but the last; of what was not read a share is kept.
    latest : RankingRows
        Of the last segment, with everything that came into question; a question whose answer did not has no wanted row.
    kept : bool [n]
        Rows of `latest` that are learned from.
    readers : int32 [n_latest]
        The customer of each question of `latest`.
    """

    earlier: RankingRows
    latest: RankingRows
    kept: Bools
    readers: Int32s

    def rows(self) -> RankingRows:
        """Return everything to learn from."""
        question = np.repeat(np.arange(len(self.latest.sizes)), self.latest.sizes)
        sizes = np.bincount(question[self.kept], minlength=len(self.latest.sizes))
        return self.earlier.then(
            RankingRows(self.latest.matrix[self.kept], self.latest.wanted[self.kept], sizes[sizes > 0])
        )


@dataclass(frozen=True, eq=False)
class _Walk:
    """The readings of a dataset in the order of time."""

    dataset: Dataset

    @cached_property
    def rows(self) -> Int64s:
        """Rows of the dataset's content events that are readings, ascending in time."""
        events = self.dataset.content_events
        rows = np.flatnonzero(is_reading(events.kind))
        return rows[np.argsort(events.at[rows], kind="stable")]

    @cached_property
    def reader(self) -> Int32s:
        """Customer of each."""
        found: Int32s = self.dataset.content_events.customer_idx[self.rows]
        return found

    @cached_property
    def content_idx(self) -> Int32s:
        """Content of each."""
        return self.dataset.content_events.item_idx[self.rows]

    @cached_property
    def at(self) -> Int64s:
        """Moment of each, UTC µs."""
        return self.dataset.content_events.at[self.rows]

    @cached_property
    def is_first(self) -> Bools:
        """Which are a customer's first reading of a content: only these are ever to be foretold."""
        pair = self.reader.astype(np.int64) * max(len(self.dataset.contents), 1) + self.content_idx
        first = np.zeros(len(pair), np.bool_)
        first[np.unique(pair, return_index=True)[1]] = True
        return first

    @cached_property
    def attributes(self) -> dict[int, dict[str, str]]:
        """Attributes of the customers who have any."""
        frame = self.dataset.customers.frame
        texts = frame["attributes"].to_list() if "attributes" in frame.columns else []
        return {idx: attributes_of(text) for idx, text in enumerate(texts) if text}

    def query(self, row: int) -> Query:
        """Return the question that reading number `row` answers."""
        who, at, dataset = int(self.reader[row]), int(self.at[row]), self.dataset
        return Query(
            at, shop_day_start(at, dataset.timezone, dataset.day_starts), who,
            dataset.product_events.of(who).before(at), attributes=self.attributes.get(who, {}),
            contents=dataset.content_events.of(who).before(at),
        )  # fmt: skip


def learn_lessons(dataset: Dataset, present: Present, items: ItemTable, config: ContentConfig, seed: int) -> Lessons:
    """Walk through the readings of a dataset; `present` are its contents with no reading counted."""
    walk = _Walk(dataset)
    bounds = np.linspace(config.first_cut * len(walk.at), len(walk.at), config.cuts + 1).astype(int)
    rng = np.random.default_rng(seed)
    asked = np.flatnonzero(walk.is_first)
    asked = asked[asked >= bounds[0]]
    if len(asked) > config.ranker.max_questions:
        asked = np.sort(rng.choice(asked, config.ranker.max_questions, replace=False))
    everything = Pulse.silent(len(present.table), 0)
    everything.take(Readings.of(dataset.content_events, np.zeros(len(dataset.customers), np.int32)))
    present = replace(present, first_read=everything.first)
    segments = [
        _Segment(walk, present, items, config, int(bounds[s]), asked[(asked >= bounds[s]) & (asked < bounds[s + 1])])
        for s in range(config.cuts)
    ]  # fmt: skip
    earlier = _stacked(
        [rows for segment in segments[:-1] for rows in (_sampled(m, w, config, rng) for m, w in segment.answers(seed))]
    )
    latest = [(m, w) for m, w in segments[-1].answers(seed)]
    kept = [_kept(w, config, rng) for _, w in latest]
    readers = walk.reader[segments[-1].asked]
    return Lessons(earlier, _stacked(latest), np.concatenate([*kept, np.zeros(0, np.bool_)]), readers)


@dataclass(frozen=True, eq=False, slots=True)
class _Segment:
    """Questions between two cuts: rows `asked` of the walk, answered by what is made at row `start`."""

    walk: _Walk
    present: Present
    items: ItemTable
    config: ContentConfig
    start: int
    asked: Int64s

    def answers(self, seed: int) -> Iterator[tuple[Float32s, Bools]]:
        """Yield (signals of everything that came into question, which of it was read) for each question."""
        if not len(self.asked):
            return
        walk, config = self.walk, self.config
        known = walk.dataset.before(int(walk.at[self.start]))
        taste = fit_taste(known, config.taste_dim, config.groups, seed)
        readings = Readings(walk.content_idx, walk.at, taste.group_of[walk.reader])
        pulse = Pulse.silent(len(self.present.table), taste.n_groups)
        present, done = replace(self.present, taste=taste, pulse=pulse), int(np.searchsorted(walk.at, known.as_of))
        pulse.take(readings.until(known.as_of))
        index = build_index(embeddings(present.words, taste.of_contents(pulse.groups)))
        for row in self.asked:
            fresh = readings.until(int(walk.at[row]), done)
            pulse.take(fresh)
            done += len(fresh)
            yield self._answer(walk.query(int(row)), int(walk.content_idx[row]), present, index)

    def _answer(self, query: Query, truth: int, present: Present, index: FaissIndex) -> tuple[Float32s, Bools]:
        reader = Reader.of(query, present)
        every = np.arange(len(present.table), dtype=np.int32)
        allowed = every[present.is_out(every, query.at) & ~np.isin(every, reader.read, kind="table")]
        pool = find_contents(reader, allowed, present, index, self.config.pool) if len(allowed) else allowed
        return signal_matrix(reader, pool, present, self.items), pool == truth


def _sampled(
    matrix: Float32s, wanted: Bools, config: ContentConfig, rng: np.random.Generator
) -> tuple[Float32s, Bools]:  # fmt: skip
    kept = _kept(wanted, config, rng)
    return matrix[kept], wanted[kept]


def _kept(wanted: Bools, config: ContentConfig, rng: np.random.Generator) -> Bools:
    """Which candidates of a question are learned from; a question that holds no answer teaches no order."""
    if not wanted.any() or wanted.all():
        return np.zeros(len(wanted), np.bool_)
    kept: Bools = wanted | (rng.random(len(wanted)) < config.ranker.negatives / len(wanted))
    return kept


def _stacked(answers: list[tuple[Float32s, Bools]]) -> RankingRows:
    sizes = np.array([len(wanted) for _, wanted in answers], np.int64)
    matrix = np.concatenate([np.empty((0, len(SIGNALS)), np.float32), *(m for m, _ in answers)])
    return RankingRows(matrix, np.concatenate([np.empty(0, np.bool_), *(w for _, w in answers)]), sizes)


@dataclass(frozen=True, eq=False)
class Judged:
    """How the orders did on the latest readings.

    Attributes
    ----------
    figures : dict
        `hit_rate@10` by system: learned, rule, newest, popular; and `questions`.
    note : str
        The same in words.
    is_learned : bool
        Whether the learned order is worth having.
    """

    figures: dict[str, float]
    note: str
    is_learned: bool


def judge_contents(lessons: Lessons, forests: Forests, least: int) -> Judged:
    """Judge what was learned from the earlier lessons on the latest ones, beside the rule and the plain orders."""
    n = len(lessons.latest.sizes)
    if len(lessons.rows().sizes) < least or not forests.boosters or not n:
        learned = len(lessons.rows().sizes)
        note = f"{counted(learned, 'answered reading')}, fewer than {least}: freshness and taste order contents by rule"
        return Judged({}, note, is_learned=False)
    hits = {name: _hits(lessons.latest, order) for name, order in _orders(lessons.latest, forests).items()}
    figures = {name: float(found.mean()) for name, found in hits.items()}
    is_learned = figures[LEARNED] > figures[RULE]
    told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    end = "" if is_learned else "; the learned order is no better than the rule and is left out"
    note = f"hit rate of ten on the latest {counted(n, 'reading')}: {told}{end}"
    return Judged(figures | {"questions": float(n)}, note, is_learned)


def _orders(rows: RankingRows, forests: Forests) -> dict[str, Float64s]:
    """Scores of every row by each order."""
    matrix = rows.matrix
    return {
        LEARNED: forests.raw(matrix), RULE: by_rule(matrix),
        "newest": -signal(matrix, "newest_place").astype(np.float64),
        "popular": signal(matrix, "readings_24h").astype(np.float64),
    }  # fmt: skip


def _hits(rows: RankingRows, score: Float64s) -> Float64s:
    """Whether what was read stands among the first ten, by question: float64 [n], ties against it."""
    ends = np.cumsum(rows.sizes)
    hits = np.zeros(len(rows.sizes))
    for number, (start, end) in enumerate(zip(ends - rows.sizes, ends, strict=True)):
        wanted = rows.wanted[start:end]
        if wanted.any():
            own = score[start:end]
            hits[number] = (own >= own[wanted].max()).sum() <= LISTED
    return hits
