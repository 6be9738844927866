"""The FAISS indexes against the exact oracle, on vectors nobody chose."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.index.exact import ExactIndex
from models.index.faiss_index import build_faiss_index


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 9), st.integers(0, 70))
def test_a_flat_index_is_the_oracle(seed: int, n_items: int, dim: int, k: int):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n_items, dim)).astype(np.float32)
    question = rng.standard_normal(dim).astype(np.float32)
    rows, scores = build_faiss_index(vectors, "flat").search(question, k)
    wanted_rows, wanted_scores = ExactIndex(vectors).search(question, k)
    assert sorted(rows.tolist()) == sorted(wanted_rows.tolist())
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0))
def test_lists_find_the_best_however_unequal_the_lengths(seed: int, spread: float):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((800, 8)) * np.exp(spread * rng.standard_normal((800, 1)))
    question = rng.standard_normal(8).astype(np.float32)
    rows, _ = build_faiss_index(vectors.astype(np.float32), "ivf").search(question, 20)
    wanted, _ = ExactIndex(vectors.astype(np.float32)).search(question, 20)
    assert len(np.intersect1d(rows, wanted)) >= 18
