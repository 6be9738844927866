"""What every vector index promises (`models.seams.VectorIndex`); the exact one is the oracle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.arrays import Float32s
from features.errors import ArtifactCorrupt
from models.index.exact import ExactIndex
from models.index.faiss_index import FaissIndex, build_faiss_index

Index = ExactIndex | FaissIndex
BUILDERS: dict[str, Callable[[Float32s], Index]] = {
    "exact": ExactIndex,
    "flat": lambda vectors: build_faiss_index(vectors, "flat"),
    "ivf": lambda vectors: build_faiss_index(vectors, "ivf"),
}
RNG = np.random.default_rng(5)
VECTORS = RNG.standard_normal((1500, 16)).astype(np.float32)
QUESTIONS = RNG.standard_normal((20, 16)).astype(np.float32)


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
class TestVectorIndexConformance:
    def test_it_finds_what_the_oracle_finds(self, build: Callable[[Float32s], Index]) -> None:
        index, oracle = build(VECTORS), ExactIndex(VECTORS)
        assert index.n_items == 1500
        shares = []
        for question in QUESTIONS:
            rows, scores = index.search(question, 50)
            assert len(rows) == len(scores) == 50
            assert (np.diff(scores) <= 0).all()
            np.testing.assert_allclose(scores, VECTORS[rows] @ question, rtol=1e-4, atol=1e-5)
            shares.append(len(np.intersect1d(rows, oracle.search(question, 50)[0])) / 50)
        assert np.mean(shares) >= 0.95

    def test_k_beyond_the_number_of_items_gives_all_of_them(self, build: Callable[[Float32s], Index]) -> None:
        rows, _ = build(VECTORS[:7]).search(QUESTIONS[0], 100)
        assert sorted(rows.tolist()) == list(range(7))

    def test_an_empty_index_and_k_zero_give_nothing(self, build: Callable[[Float32s], Index]) -> None:
        assert len(build(VECTORS[:0]).search(QUESTIONS[0], 5)[0]) == 0
        assert len(build(VECTORS[:5]).search(QUESTIONS[0], 0)[0]) == 0

    def test_equal_vectors_come_in_the_order_of_rows(self, build: Callable[[Float32s], Index]) -> None:
        rows, _ = build(np.tile(VECTORS[:1], (6, 1))).search(VECTORS[0], 6)
        assert rows.tolist() == [0, 1, 2, 3, 4, 5]

    def test_another_dimension_is_refused(self, build: Callable[[Float32s], Index]) -> None:
        with pytest.raises(ValueError, match="dimension 16"):
            build(VECTORS[:5]).search(np.ones(3, np.float32), 2)

    def test_loaded_it_answers_bit_identically(self, build: Callable[[Float32s], Index], tmp_path: Path) -> None:
        index = build(VECTORS)
        index.save(tmp_path)
        again = type(index).load(tmp_path)
        for question in QUESTIONS:
            for one, two in zip(index.search(question, 20), again.search(question, 20), strict=True):
                assert one.tobytes() == two.tobytes()

    @pytest.mark.parametrize("damage", ["half", "nothing", "noise", "gone"])
    def test_a_damaged_file_is_named(self, build: Callable[[Float32s], Index], damage: str, tmp_path: Path) -> None:
        index = build(VECTORS[:200])
        index.save(tmp_path)
        (file,) = tmp_path.iterdir()
        good = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes({"half": good[: len(good) // 2], "nothing": b"", "noise": b"zzzz" + good[4:]}[damage])
        with pytest.raises(ArtifactCorrupt, match=file.name):
            type(index).load(tmp_path)

    def test_built_twice_it_is_the_same_file(self, build: Callable[[Float32s], Index], tmp_path: Path) -> None:
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            build(VECTORS).save(tmp_path / folder)
        one, two = ((next((tmp_path / f).iterdir())).read_bytes() for f in ("one", "two"))
        assert one == two
