"""The ranker learns what it is shown, sees nothing of the future, and is the same after a round trip."""

import numpy as np
import pytest

from features.definitions import FEATURES
from features.errors import ArtifactCorrupt
from features.item_facts import fit_item_facts
from models.artifact import load_value, save_value
from models.query import Candidates
from models.rank.attribution import cause_of
from models.rank.ranker import RankerConfig, RankerModel, RankingRows, feature_names, fit_ranker, ranking_matrix
from tests import worlds

SMALL = RankerConfig(n_trees=30, min_rows_in_leaf=5, feature_share=1.0, l2=0.1)
SOURCES = ("repeat", "popular")


def rows_where(name, n_questions=80, size=10, seed=0):
    """Questions in which the candidate with the greatest value of one feature is the wanted one."""
    rng = np.random.default_rng(seed)
    width = len(feature_names(SOURCES))
    matrix = rng.random((n_questions * size, width)).astype(np.float32)
    column = feature_names(SOURCES).index(name)
    wanted = np.zeros(len(matrix), np.bool_)
    for question in range(n_questions):
        block = slice(question * size, (question + 1) * size)
        wanted[question * size + int(np.argmax(matrix[block, column]))] = True
    return RankingRows(matrix, wanted, np.full(n_questions, size, np.int64))


@pytest.fixture(scope="module")
def toy():
    return worlds.two_tastes()


@pytest.fixture(scope="module")
def ranker(toy):
    return fit_ranker(rows_where("count"), SOURCES, fit_item_facts(toy), SMALL, 0)


def found(toy, *names):
    return Candidates(toy.products.ids.idxs(list(names)), np.arange(len(names), 0, -1, dtype=np.float32))


def test_it_learns_the_feature_that_tells(ranker):
    assert next(iter(ranker.importance())) == "count"


def test_contributions_add_up_to_the_raw_score(toy, ranker):
    query, items = worlds.query(toy, "tea-3"), toy.products.ids.idxs(["tea1", "bread"])
    added = ranker.contributions(query, items, {})
    assert added.shape == (2, len(ranker.names) + 1)
    matrix = ranking_matrix(query, items, {}, SOURCES, ranker.facts)
    raw = np.mean([b.predict(matrix, raw_score=True) for b in ranker.forests.boosters], axis=0)
    assert added.sum(axis=1) == pytest.approx(raw)


def test_an_aspect_is_one_feature_as_it_is_and_a_source_two_that_compare(toy):
    query, items = worlds.query(toy, "tea-3"), toy.products.ids.idxs(["tea1", "bread", "coffee1"])
    said = Candidates(items[:2], np.array([0.5, 0.25], np.float32))
    heard = ("itemknn", "itemknn.nearest", "popular")
    assert feature_names(heard)[len(FEATURES) :] == (
        "share_itemknn", "rank_itemknn", "itemknn.nearest", "share_popular", "rank_popular",
    )  # fmt: skip
    matrix = ranking_matrix(query, items, dict.fromkeys(heard, said), heard, fit_item_facts(toy))
    np.testing.assert_allclose(matrix[:2, len(FEATURES) :], [[1, 0, 0.5, 1, 0], [0.5, np.log(2), 0.25, 0.5, np.log(2)]])
    assert np.isnan(matrix[2, len(FEATURES) :]).all()
    assert cause_of("itemknn.nearest") == "itemknn"


def test_scores_are_positive_and_follow_what_was_learned(toy, ranker):
    query, items = worlds.query(toy, "tea-3"), toy.products.ids.idxs(["coffee1", "tea1"])
    score = ranker.order(query, items, {}).score
    assert np.all((score > 0) & (score < 1))
    assert score[1] > score[0]


def test_sources_enter_as_share_of_their_best_and_rank(toy, ranker):
    items = toy.products.ids.idxs(["tea1", "tea2", "bread"])
    matrix = ranking_matrix(
        worlds.query(toy, "tea-3"), items, {"repeat": found(toy, "bread", "tea1")}, SOURCES, ranker.facts
    )
    at = len(FEATURES)
    assert matrix[:, at].tolist()[::2] == [0.5, 1.0]
    assert matrix[:, at + 1].tolist()[::2] == pytest.approx([np.log(2), 0.0])
    assert np.isnan(matrix[1, at : at + 4]).all()
    assert np.isnan(matrix[:, at + 2 :]).all()


def test_items_after_training_have_no_facts_and_still_get_a_score(toy, ranker):
    items = np.array([len(toy.products) + 3], np.int32)
    assert np.isfinite(ranker.order(worlds.query(toy, "tea-3"), items, {}).score).all()


def test_a_round_trip_changes_no_bit(toy, ranker, tmp_path):
    save_value(ranker, tmp_path / "r")
    loaded = load_value(RankerModel, tmp_path / "r")
    query, items = worlds.query(toy, "tea-3"), np.arange(len(toy.products), dtype=np.int32)
    assert loaded.order(query, items, {}).score.tobytes() == ranker.order(query, items, {}).score.tobytes()
    assert loaded.config == ranker.config


def test_equal_trainings_grow_equal_trees(toy, ranker):
    again = fit_ranker(rows_where("count"), SOURCES, fit_item_facts(toy), SMALL, 0)
    assert [b.model_to_string() for b in again.forests.boosters] == [
        b.model_to_string() for b in ranker.forests.boosters
    ]


def test_damaged_trees_are_named(ranker, tmp_path):
    save_value(ranker, tmp_path / "r")
    path = next((tmp_path / "r" / "forests").glob("*.txt"))
    path.write_text("not a forest")
    with pytest.raises(ArtifactCorrupt, match=path.name):
        load_value(RankerModel, tmp_path / "r")
