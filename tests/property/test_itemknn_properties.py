"""`itemknn`'s neighbours against a dense oracle, cuts and ties included."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from models.recommenders.itemknn import ItemKnnConfig, find_neighbours, weightiest


@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(1, 12), limit=st.integers(1, 8), block=st.integers(1, 40))
def test_neighbours_are_the_strongest_of_a_dense_walk(seed: int, n_items: int, limit: int, block: int):
    wanted = np.random.default_rng(seed).integers(0, 2, (7, n_items)).astype(np.float32)
    found = find_neighbours(sp.csr_array(wanted), ItemKnnConfig(n_neighbours=limit, block_pairs=block)).toarray()
    leave = wanted.T / np.maximum(wanted.sum(axis=0), 1)[:, None]
    walk = (leave @ (wanted / np.maximum(wanted.sum(axis=1), 1)[:, None])).astype(np.float32)
    np.fill_diagonal(walk, 0)
    for item, row in enumerate(walk):
        # Sums in another order differ in the last bits, so ties are compared by value, not by column.
        best = np.sort(row)[::-1][:limit]
        np.testing.assert_allclose(np.sort(found[item][found[item] > 0])[::-1], best[best > 0], rtol=1e-5)
        there = found[item] > 0
        np.testing.assert_allclose(found[item][there], row[there], rtol=1e-5)


@given(seed=st.integers(0, 2**32 - 1), limit=st.integers(1, 6))
def test_a_cut_row_keeps_its_weightiest_and_ties_by_column(seed: int, limit: int):
    weights = np.random.default_rng(seed).integers(0, 4, (6, 9)).astype(np.float32)
    cut = weightiest(sp.csr_array(weights), limit).toarray()
    for row, kept in zip(weights, cut, strict=True):
        order = [c for c in np.lexsort((np.arange(9), -row)) if row[c] > 0][:limit]
        assert sorted(order) == np.flatnonzero(kept).tolist()
        assert kept[order].tolist() == row[order].tolist()
