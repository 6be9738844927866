"""Learning a blend: its arithmetic against the blend that serves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.query import Candidates
from models.rank.blend import blend_by_rank
from training.blends import BlendLessons, K, put_ranks
from training.metrics import ItemSets, ndcg

N_ITEMS = 30


@given(seed=st.integers(0, 2**32 - 1), n_sources=st.integers(1, 4), offset=st.sampled_from([1.0, 5.0, 30.0]))
def test_lessons_score_as_the_blend_that_serves(seed: int, n_sources: int, offset: float):
    rng = np.random.default_rng(seed)
    names = [f"s{n}" for n in range(n_sources)]
    weights = np.round(rng.uniform(0.01, 1.0, n_sources), 3)
    found = {}
    for name in names:
        listed = rng.permutation(N_ITEMS)[: rng.integers(1, 15)].astype(np.int32)
        found[name] = Candidates(listed, -np.sort(-rng.uniform(0.1, 1, len(listed)).astype(np.float32)))
    truth = np.sort(rng.permutation(N_ITEMS)[: rng.integers(1, 15)]).astype(np.int32)
    blend = blend_by_rank(found, dict(zip(names, weights, strict=True)), offset)
    served = blend.item_idx[np.lexsort((blend.item_idx, -blend.score))][:K]
    shown = np.full((1, K), -1, np.int32)
    shown[0, : len(served)] = served
    rank = np.full((1, N_ITEMS, n_sources), np.inf, np.float32)
    for column, name in enumerate(names):
        put_ranks(rank[0, : len(blend.item_idx), column], blend.item_idx, found[name].item_idx)
    there = np.arange(N_ITEMS)[None, :] < len(blend.item_idx)
    wanted = np.zeros((1, N_ITEMS), np.bool_)
    wanted[0, : len(blend.item_idx)] = np.isin(blend.item_idx, truth)
    lessons = BlendLessons(rank, there, wanted, np.array([len(truth)]))
    sets = ItemSets.of([truth], N_ITEMS)
    np.testing.assert_allclose(lessons.ndcg(weights, offset), ndcg(sets.contain(shown), sets.sizes), rtol=1e-6)
