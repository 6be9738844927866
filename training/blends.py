"""How a scene should weigh its sources, learned from questions whose answer is known (where no ranker orders it).

The weights of reciprocal rank fusion and its offset are searched by coordinates on one half of the customers, from the
standard ones, for the greatest NDCG@10; they replace the standard ones only when the other half, which had no say,
agrees: its paired bootstrap interval of the difference lies above 0. With too few customers the standard ones stay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.sentences import counted
from models.gather import candidates_of, gather_candidates
from models.pipeline import Allowance
from models.rank.blend import LearnedBlend, blend_by_rank
from models.rng import derived_rng
from models.slate import Request
from models.trained import Models
from training.metrics import bootstrap_intervals
from training.progress import Advance
from training.questions import Question, scene_questions
from training.split import Split

K: Final = 10
MOST_QUESTIONS: Final = 600
LEAST_QUESTIONS: Final = 100
HEAD: Final = 50  # of each source: what lies deeper reaches no first ten at any weight tried
FACTORS: Final = (0.0, 0.25, 0.5, 2.0, 4.0)
OFFSETS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
ROUNDS: Final = 3
SAMPLES: Final = 1000


@dataclass(frozen=True, eq=False)
class BlendLessons:
    """Questions with what each source said of the candidates, padded to one width.

    Attributes
    ----------
    rank : float32 [n_questions, width, n_sources]
        Of each candidate in each source, 1 the best, infinite where the source did not find it.
    there : bool [n_questions, width]
        Candidates, not padding; ascending in item, so that ties fall as in `blend_by_rank`.
    wanted : bool [n_questions, width]
    n_truth : int64 [n_questions]
        Also what is among no source's candidates.
    """

    rank: Float32s
    there: Bools
    wanted: Bools
    n_truth: Int64s

    def of(self, rows: Bools) -> "BlendLessons":
        """Return some of the questions."""
        return BlendLessons(self.rank[rows], self.there[rows], self.wanted[rows], self.n_truth[rows])

    def ndcg(self, weights: Float64s, offset: float) -> Float64s:
        """NDCG@10 of the blend with these weights (float64 [n_sources]): float64 [n_questions]."""
        score = np.where(self.there, (weights.astype(np.float32) / (np.float32(offset) + self.rank)).sum(axis=2), -1.0)
        best = np.argsort(-score, axis=1, kind="stable")[:, :K]
        hits = np.take_along_axis(self.wanted, best, axis=1)
        discount = 1.0 / np.log2(np.arange(hits.shape[1]) + 2.0)
        ideal = np.cumsum(1.0 / np.log2(np.arange(K) + 2.0))[np.minimum(self.n_truth, K) - 1]
        gained: Float64s = (hits @ discount) / ideal
        return gained


def learn_blend(models: Models, split: Split, scene: str, advance: Advance) -> tuple[LearnedBlend | None, str]:
    """Return better weights for a scene and a sentence on them, or no weights and why the standard ones stay.

    `models` are fitted on `split.known`; a source that they lack keeps its standard weight.
    """
    recipe = models.config.all_scenes[scene]
    questions = scene_questions(split, scene, recipe, K)
    rng = derived_rng(models.config.seed, "blend", scene, str(split.known.as_of))
    if len(questions) > MOST_QUESTIONS:
        chosen = np.sort(rng.choice(len(questions), MOST_QUESTIONS, replace=False))
        questions = [questions[i] for i in chosen]
    if len(questions) < LEAST_QUESTIONS:
        return None, f"standard weights: {counted(len(questions), 'answered question')}, fewer than {LEAST_QUESTIONS}"
    lessons = _gathered(models, scene, questions, advance)
    first = rng.permutation(len(questions)) < len(questions) // 2
    standard = np.array(list(recipe.sources.values()))
    weights, offset = _searched(lessons.of(first).ndcg, standard, recipe.rank_offset)
    judged = lessons.of(~first)
    gain = judged.ndcg(weights, offset) - judged.ndcg(standard, recipe.rank_offset)
    found = bootstrap_intervals({"gain": gain}, rng, SAMPLES)["gain"]
    who = f"{counted(found.n, 'customer')} who had no say"
    told = f"NDCG@10 {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] on {who}"
    if not found.low > 0:
        return None, f"standard weights: the best of {counted(len(questions) - found.n, 'other customer')} gave {told}"
    # What counts for nothing is not asked.
    learned = {name: round(float(w), 6) for name, w in zip(recipe.sources, weights, strict=True) if w > 0}
    return LearnedBlend(weights=learned, rank_offset=offset), f"learned weights: {told}"


def _searched(ndcg: Callable[[Float64s, float], Float64s], weights: Float64s, offset: float) -> tuple[Float64s, float]:
    """Climb by one weight or the offset at a time while anything helps."""
    best = float(ndcg(weights, offset).mean())
    for _ in range(ROUNDS):
        before = best
        for source in range(len(weights)):
            for factor in FACTORS:
                tried = weights.copy()
                tried[source] *= factor
                reached = float(ndcg(tried, offset).mean()) if tried.any() else 0.0
                if reached > best:
                    best, better = reached, tried
                    weights = better
                    break
        for tried_offset in OFFSETS:
            reached = float(ndcg(weights, tried_offset).mean())
            if reached > best:
                best, offset = reached, tried_offset
        if best == before:
            break
    return weights, offset


def _gathered(models: Models, scene: str, questions: list[Question], advance: Advance) -> BlendLessons:
    recipe = models.config.all_scenes[scene]
    head = recipe.model_copy(update={"candidates": min(recipe.candidates, HEAD), "depth": 1})
    names = tuple(recipe.sources)
    parts: list[tuple[Float32s, Bools]] = []
    for question in questions:
        query = models.query(question.case.customer_idx, question.at, question.tail)
        allowed = Allowance(Request(query, scene, K), recipe, models.items)
        found, _ = gather_candidates(models.sources, recipe, query)
        # Ranks are those of the whole lists, as when it serves; only the heads' items compete.
        item_idx = blend_by_rank(candidates_of(found, head), recipe.sources, recipe.rank_offset).item_idx
        item_idx = item_idx[allowed.of(item_idx)]
        rank = np.full((len(item_idx), len(names)), np.inf, np.float32)
        for column, name in enumerate(names):
            if name in found:
                put_ranks(rank[:, column], item_idx, found[name].item_idx[: recipe.candidates])
        parts.append((rank, np.isin(item_idx, question.truth)))
        advance(1)
    width = max(max((len(wanted) for _, wanted in parts), default=0), K)
    lessons = BlendLessons(
        np.full((len(parts), width, len(names)), np.inf, np.float32), np.zeros((len(parts), width), np.bool_),
        np.zeros((len(parts), width), np.bool_), np.array([len(q.truth) for q in questions], np.int64),
    )  # fmt: skip
    for row, (rank, wanted) in enumerate(parts):
        lessons.rank[row, : len(wanted)] = rank
        lessons.there[row, : len(wanted)] = True
        lessons.wanted[row, : len(wanted)] = wanted
    return lessons


def put_ranks(ranks: Float32s, item_idx: Int32s, listed: Int32s) -> None:
    """Write the places (1 the best) that a source's list gives to some items (ascending)."""
    at = np.searchsorted(item_idx, listed)
    inside = at < len(item_idx)
    inside[inside] = item_idx[at[inside]] == listed[inside]
    ranks[at[inside]] = np.arange(1, len(listed) + 1, dtype=np.float32)[inside]
