"""Each source in a world whose right answer can be read off it."""

import numpy as np
import pytest
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares

from features.dataset import Dataset
from models.arrivals import Arrivals
from models.items import ItemTable
from models.query import Candidates, Query
from models.recommenders.als import AlsConfig, fit_als
from models.recommenders.content_based import ContentBasedConfig, ContentBasedModel, fit_content_based
from models.recommenders.evidence import EvidenceConfig, pair_matrix, read_profile, sum_by_item
from models.recommenders.hybrid import HybridConfig, fit_hybrid
from models.recommenders.itemknn import ItemKnnConfig, fit_itemknn
from models.recommenders.newest import NewestConfig, fit_newest
from models.recommenders.popular import PopularConfig, fit_popular
from models.recommenders.repeat import RepeatConfig, fit_repeat
from tests.worlds import day, history, query, two_tastes, world

WORLD = two_tastes()
PLAIN = EvidenceConfig()


def names(dataset: Dataset, found: Candidates) -> list[str]:
    return [dataset.products.ids.text(int(i)) for i in found.item_idx]


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def asked(dataset: Dataset, *rows: tuple[object, ...]) -> Query:
    return query(dataset, history=history(dataset, rows))


def test_an_item_counts_once_per_basket_and_unknown_items_not_at_all():
    dataset = world([("a", "x", 1), ("a", "y", 1)], as_of=10)
    known = history(dataset, [("x", 1), ("x", 1), ("x", 2), ("y", 2), ("gone", 2)])
    item_idx, weight = sum_by_item(known, PLAIN, day(10))
    assert item_idx.tolist() == [0, 1]
    assert weight.tolist() == [2.0, 1.0]


def test_evidence_halves_with_its_half_life():
    dataset = world([("a", "x", 1)], as_of=10)
    _, weight = sum_by_item(history(dataset, [("x", 3)]), PLAIN, day(10), half_life_days=7)
    assert weight.tolist() == [0.5]


def test_the_matrix_of_a_fit_agrees_with_the_sum_over_one_history():
    rows = [("a", "x", 1, "purchase", "o1"), ("a", "x", 1, "purchase", "o1"), ("a", "x", 2), ("a", "y", 2, "view")]
    dataset = world([*rows, ("b", "y", 3), ("b", "y", 4, "refund")], as_of=10)
    matrix = pair_matrix(dataset, PLAIN, 30.0)
    item_idx, weight = sum_by_item(dataset.product_events.of(0), PLAIN, dataset.as_of, 30.0)
    assert matrix[[0], :].toarray().ravel()[item_idx].tolist() == weight.astype(np.float32).tolist()
    assert matrix[[1], :].nnz < 1 or matrix[1, 1] > 0


def test_seeds_replace_the_history_and_a_long_profile_keeps_the_weightiest():
    asking = query(WORLD, "tea-3", seeds=["bread"])
    assert read_profile(asking, PLAIN, 30.0, 13, 5)[0].tolist() == [WORLD.products.ids.idx("bread")]
    asking = asked(WORLD, ("tea0", 1), ("tea1", 2), ("tea2", 39), ("tea2", 38))
    item_idx, _ = read_profile(asking, PLAIN, 30.0, 13, 1)
    assert item_idx.tolist() == [WORLD.products.ids.idx("tea2")]


def test_repeat_puts_what_is_bought_often_and_lately_first_and_forgets_what_was_returned():
    model = fit_repeat(WORLD, RepeatConfig(), rng())
    rows = [("tea0", 1), ("tea1", 1), ("tea1", 20), ("tea2", 30), ("coffee0", 20), ("coffee0", 21, "refund")]
    assert names(WORLD, model.candidates(asked(WORLD, *rows), 9)) == ["tea1", "tea2", "tea0"]


def test_repeat_tells_ties_apart_by_what_the_shop_buys():
    model = fit_repeat(WORLD, RepeatConfig(popularity=1e-3), rng())
    assert names(WORLD, model.candidates(asked(WORLD, ("tea-new", 5), ("bread", 5)), 2)) == ["bread", "tea-new"]


def test_itemknn_finds_the_one_tea_that_is_missing():
    model = fit_itemknn(WORLD, ItemKnnConfig(), rng())
    bought = set(names(WORLD, fit_repeat(WORLD, RepeatConfig(), rng()).candidates(query(WORLD, "tea-3"), 9)))
    fresh = [n for n in names(WORLD, model.candidates(query(WORLD, "tea-3"), 9)) if n not in bought]
    assert fresh[0] == "tea3"
    assert model.because(query(WORLD, "tea-3"), WORLD.products.ids.idx("tea3")) >= 0
    assert model.because(query(WORLD, "tea-3"), WORLD.products.ids.idx("nobody-bought")) == -1


def test_itemknn_tells_the_nearest_of_the_history_and_the_way_back():
    dataset = world([("ann", "a", 1), ("ann", "b", 1), ("bob", "a", 2), ("bob", "c", 2)])
    model = fit_itemknn(dataset, ItemKnnConfig(), rng())
    item = dataset.products.ids.idxs(["c"])
    # From a, whom two want, half the way leads to bob and half of his to c; from b nothing leads there.
    both = asked(dataset, ("a", 3), ("b", 3))
    assert model.aspect("nearest", both, item).tolist() == [0.25]
    # From c all ways lead to bob, and half of his to a.
    assert model.aspect("reverse", both, item).tolist() == [0.5]
    assert model.aspect("nearest", asked(dataset, ("b", 3)), item).tolist() == [0.0]


def test_itemknn_is_the_walk_of_its_paper_whatever_the_block():
    dense = pair_matrix(WORLD, PLAIN).toarray() > 0
    walk = (dense.T / dense.sum(0)[:, None].clip(1)) @ (dense / dense.sum(1)[:, None])
    np.fill_diagonal(walk, 0)
    for block in (1, 10**6):
        model = fit_itemknn(WORLD, ItemKnnConfig(block_pairs=block), rng())
        np.testing.assert_allclose(model.neighbours.toarray(), walk, rtol=1e-5)


def test_als_folds_in_what_implicit_would_compute_and_finds_the_taste():
    config = AlsConfig(dim=2)
    model = fit_als(WORLD, config, rng())
    item_idx, weight = np.array([8, 9, 12], np.int32), np.array([1, 3, 0.5], np.float32)
    peer = AlternatingLeastSquares(factors=2, regularization=model.ridge, alpha=1.0, num_threads=1)
    peer.item_factors = model.items
    confidence = (1 + config.alpha * np.log2(1 + weight)).astype(np.float32)
    row = sp.csr_matrix((confidence, item_idx, [0, 3]), shape=(1, len(model.items)))
    np.testing.assert_allclose(model.fold_in(item_idx, weight), peer.recalculate_user(0, row), rtol=1e-3, atol=1e-4)
    found = names(WORLD, model.candidates(asked(WORLD, ("tea0", 38), ("tea1", 39)), 6))
    assert not any("coffee" in n for n in found[:5])


def test_hybrid_knows_a_customer_by_attributes_and_a_product_by_its_kind():
    model = fit_hybrid(WORLD, HybridConfig(dim=8), rng())
    newcomer = query(WORLD, attributes={"region": "tealand"})
    assert names(WORLD, model.candidates(newcomer, 6)).count("bread") == 1
    tea, coffee = (
        model.score(newcomer, WORLD.products.ids.idxs([f"{t}{i}" for i in range(5)])) for t in ("tea", "coffee")
    )
    assert tea.mean() > coffee.mean()
    cold = model.score(newcomer, WORLD.products.ids.idxs(["tea-new", "nobody-bought"]))
    assert cold[0] > coffee.mean()
    assert np.isnan(cold[1])
    assert not len(model.candidates(query(WORLD, attributes={"region": "elsewhere"}), 6))


def test_content_based_finds_products_never_sold_by_their_words():
    model = fit_content_based(WORLD, ContentBasedConfig(), rng())
    similar = names(WORLD, model.candidates(query(WORLD, seeds=["tea-new"]), 6))
    assert similar[0] == "tea-new"
    assert all(n.startswith("tea") for n in similar)
    assert "tea-new" in names(WORLD, model.candidates(query(WORLD, "tea-3"), 6))
    tea = WORLD.products.ids.idx("tea1")
    assert WORLD.products.ids.text(model.because(query(WORLD, "tea-3"), tea)).startswith("tea")


def test_newest_are_the_last_to_arrive_and_none_from_the_future():
    products = [{"product_id": "a", "created_at": day(5)}, {"product_id": "c", "created_at": day(99)}]
    products += [{"product_id": "b", "valid_from": day(7)}]
    dataset = world([("u", "b", 7), ("u", "a", 8)], products=products, as_of=12)
    model = fit_newest(dataset, NewestConfig(half_life_days=5), rng())
    found = model.candidates(query(dataset), 9)
    assert names(dataset, found) == ["b", "a"]
    assert found.score.tolist() == [0.5, np.float32(1 / (1 + 7 / 5))]


def test_popular_follows_the_segment_where_there_is_one():
    model = fit_popular(WORLD, PopularConfig(segment_attribute="region", prior_customers=1), rng())
    assert names(WORLD, model.candidates(query(WORLD, attributes={"region": "tealand"}), 3))[1].startswith("tea")
    assert names(WORLD, model.candidates(query(WORLD, attributes={"region": "coffeeland"}), 3))[1].startswith("coffee")
    assert names(WORLD, model.candidates(query(WORLD), 1)) == ["bread"]


def test_popular_hears_who_comes_back_more_but_does_not_let_one_hoarder_outvote_two():
    again = [("ann", "bread", d, "purchase", f"o{d}") for d in (1, 2)] + [("ann", "bread", 2, "purchase", "o2")]
    hoard = [("bob", "tape", d, "purchase", f"p{d}") for d in (1, 2, 3)]
    many = [(who, "milk", 3) for who in ("cat", "dan", "eve")] + [("fay", "salt", 3)]
    dataset = world([*again, *hoard, *many], as_of=4)
    model = fit_popular(dataset, PopularConfig(half_life_days=1e9), rng())
    found = model.candidates(query(dataset), 9)
    assert names(dataset, found) == ["milk", "tape", "bread", "salt"]
    np.testing.assert_allclose(found.score, [3, 3**0.75, 2**0.75, 1], rtol=1e-5)


def test_popular_forgets_with_its_half_life():
    dataset = world([("ann", "old", 0), ("bob", "new", 10)], as_of=20)
    found = fit_popular(dataset, PopularConfig(half_life_days=10, exponent=1), rng()).candidates(query(dataset), 2)
    assert names(dataset, found) == ["new", "old"]
    np.testing.assert_allclose(found.score, [0.5, 0.25], rtol=1e-5)


@pytest.mark.parametrize("dim", [2, 64])
def test_a_product_described_word_for_word_like_another_gets_its_very_direction_when_it_comes_later(dim):
    model = fit_content_based(WORLD, ContentBasedConfig(dim=dim), rng())
    row = {"category": "drinks/tea", "brand": "tea house", "tags": ["tea"], "title": "green tea 绿茶 leaves no tea1"}
    rows = [row | {"product_id": "twin"}, {"product_id": "foreign", "title": "zzz"}, {"product_id": "bare"}]
    items = ItemTable.of(WORLD.products).with_changes(rows)
    grown = model.grown(Arrivals.of(rows, items))
    assert grown.later[0].tobytes() == model.items[WORLD.products.ids.idx("tea1")].tobytes()
    assert grown.described[items.idxs(["twin", "foreign", "bare"])].tolist() == [True, False, False]
    one, other = grown.score(query(WORLD, seeds=["tea1"]), items.idxs(["tea1", "twin"]))
    assert one == other
    assert grown.because(query(WORLD, "coffee-1"), items.idx("foreign")) == -1


def test_a_model_written_before_words_were_kept_answers_and_takes_nothing_in():
    full = fit_content_based(WORLD, ContentBasedConfig(), rng())
    old = ContentBasedModel(full.config, full.items, full.described, full.index)
    rows = [{"product_id": "twin", "title": "green tea"}]
    items = ItemTable.of(WORLD.products).with_changes(rows)
    grown = old.grown(Arrivals.of(rows, items))
    asking = query(WORLD, "tea-3")
    assert names(WORLD, grown.candidates(asking, 3)) == names(WORLD, full.candidates(asking, 3))
    assert np.isnan(grown.score(asking, items.idxs(["twin"]))).all()


def test_what_came_long_ago_is_no_arrival():
    products = [{"product_id": p, "created_at": day(d)} for p, d in (("tea", 1), ("milk", 100))]
    toy = world([("ann", "tea", 1), ("ann", "milk", 100)], products=products, as_of=110)
    found = fit_newest(toy, NewestConfig(), rng()).candidates(query(toy), 10)
    assert names(toy, found) == ["milk"]
    everything = fit_newest(toy, NewestConfig(window_days=200), rng()).candidates(query(toy), 10)
    assert names(toy, everything) == ["milk", "tea"]
