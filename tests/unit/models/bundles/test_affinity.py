"""Which bundle for which customer, in a shop of two tastes where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from features.columns import ItemKind
from models.artifact import load_value, save_value
from models.bundles.affinity import AffinityConfig, BundleAffinity, fit_affinity
from models.bundles.lessons import Limits, Pairs, hidden_pairs, learn_bundle_lessons
from models.bundles.signals import SIGNALS, Shopper, SignalConfig, find_parts, fit_signals, no_bundles, signal_matrix
from models.bundles.table import BundleTable
from models.items import ItemTable
from models.rank.ranker import RankerConfig
from tests import worlds

TASTES = ("tea", "coffee")
N_BUNDLES = 12
SMALL = RankerConfig(n_trees=20, n_leaves=4, min_rows_in_leaf=10, least_questions=30)


def shop_rows(n_each=40, seed=0):
    """Tea drinkers buy teas and bundles of teas, coffee drinkers coffees: who buys what within a taste is chance."""
    rng = np.random.default_rng(seed)
    rows = []
    for taste in TASTES:
        for who in range(n_each):
            had = [f"{taste}{item}" for item in rng.choice(10, 5, replace=False)]
            had += [f"bundle:{taste}-set{bundle}" for bundle in rng.choice(N_BUNDLES - 1, 4, replace=False)]
            rows += [(f"{taste}-{who}", item, float(rng.uniform(1, 60))) for item in had]
    bundles = [
        {"bundle_id": f"{taste}-set{b}", "product_ids": [f"{taste}{(b + i) % 10}" for i in range(3)]}
        for taste in TASTES for b in range(N_BUNDLES)
    ]  # fmt: skip
    products = [{"product_id": f"{taste}{i}", "title": f"{taste} {i}"} for taste in TASTES for i in range(10)]
    return rows, products, bundles


def shop(n_each=40, seed=0, more=()):
    rows, products, bundles = shop_rows(n_each, seed)
    return worlds.world([*rows, *more], products=products, bundles=bundles, as_of=61)


def asked(dataset, customer, history=None, bundles=None):
    who = dataset.customers.ids.idx(customer)
    own = dataset.product_events.of(who) if history is None else history
    his = dataset.events[ItemKind.bundle].of(who) if bundles is None else bundles
    return worlds.query(dataset, customer, history=own, bundles=his)


def shelf(dataset):
    return BundleTable.of(dataset.bundles.ids, dataset.bundles.frame), ItemTable.of(dataset.products)


def best(dataset, model, query, k=5):
    score = model.score(query, *shelf(dataset))
    return [dataset.bundles.ids.text(int(i)) for i in np.argsort(-score, kind="stable")[:k]]


@pytest.fixture(scope="module")
def known():
    return shop(more=[("newcomer", "tea3", 50), ("newcomer", "tea4", 51)])


@pytest.fixture(scope="module")
def model(known):
    return fit_affinity(known, {}, AffinityConfig(ranker=SMALL), np.random.default_rng(1))


def test_it_learns_an_order_where_there_is_enough_to_learn_from(model):
    assert model.forests.boosters


def test_a_customer_is_shown_bundles_of_the_taste_he_has_shown(known, model):
    assert all(name.startswith("tea-") for name in best(known, model, asked(known, "tea-3")))
    assert all(name.startswith("coffee-") for name in best(known, model, asked(known, "coffee-3")))


def test_a_customer_without_bundles_is_known_by_his_products(known, model):
    query = asked(known, "newcomer")
    assert not len(query.bundles)
    assert all(name.startswith("tea-") for name in best(known, model, query))


def test_a_stranger_gets_what_sold_most(known, model):
    score = model.score(worlds.query(known), *shelf(known))
    np.testing.assert_array_equal(score, model.signals.weight)
    assert score.max() > 0


def test_what_he_has_bought_comes_after_everything_else_where_nobody_buys_again(known, model):
    query = asked(known, "tea-3")
    score = model.score(query, *shelf(known))
    own = np.unique(query.bundles.item_idx)
    assert score[own].max() < 0 <= np.delete(score, own).min()


def test_what_he_has_bought_comes_again_where_many_buy_again():
    again = [(f"tea-{who}", "bundle:tea-set1", day) for who in range(40) for day in (10, 20, 30, 40, 50)]
    dataset = shop(more=again)
    fitted = fit_affinity(dataset, {}, AffinityConfig(ranker=SMALL), np.random.default_rng(1))
    assert fitted.rebuys > 0.3
    assert fitted.score(asked(dataset, "tea-3"), *shelf(dataset))[dataset.bundles.ids.idx("tea-set1")] > 0


def test_a_bundle_made_a_second_ago_is_judged_by_its_parts(known, model):
    table, items = shelf(known)
    came = [
        {"bundle_id": "new-tea", "product_ids": ["tea3", "tea4", "tea5"]},
        {"bundle_id": "new-coffee", "product_ids": ["coffee3", "coffee4", "coffee5"]},
    ]
    grown = table.with_changes(came)
    score = model.score(asked(known, "newcomer"), grown, items)
    assert len(score) == len(table) + 2
    assert score[grown.ids.idx("new-tea")] > score[grown.ids.idx("new-coffee")]
    said = model.judge(asked(known, "newcomer"), grown, items).evidence(grown.ids.idx("new-tea"))
    assert said["parts_bought"] == 2
    assert "sold" not in said


def test_the_evidence_is_counted(known, model):
    query, idx = asked(known, "tea-3"), known.bundles.ids.idx("tea-set2")
    said = model.judge(query, *shelf(known)).evidence(idx)
    bought = {known.products.ids.text(int(i)) for i in query.history.item_idx}
    assert said.get("parts_bought", 0) == len(bought & {"tea2", "tea3", "tea4"})
    assert 0 < said["nearest"] <= 1
    assert known.bundles.ids.text(model.because(query, idx)).startswith("tea-")


def test_with_too_few_to_learn_from_a_rule_orders_and_still_knows_the_taste():
    dataset = shop(n_each=8)
    fitted = fit_affinity(dataset, {}, AffinityConfig(), np.random.default_rng(1))
    assert not fitted.forests.boosters
    assert all(name.startswith("coffee-") for name in best(dataset, fitted, asked(dataset, "coffee-1"), 4))


def test_bundles_that_nobody_ever_bought_are_ordered_by_what_they_are_made_of():
    rows = [("ann", "tea1", 1), ("ann", "tea2", 2), ("bob", "coffee1", 3)]
    sets = [{"bundle_id": f"{t}-set", "product_ids": [f"{t}1", f"{t}2"]} for t in TASTES]
    dataset = worlds.world(rows, bundles=sets, products=[{"product_id": "coffee2"}], as_of=9)
    fitted = fit_affinity(dataset, {}, AffinityConfig(), np.random.default_rng(1))
    assert best(dataset, fitted, asked(dataset, "ann"), 2) == ["tea-set", "coffee-set"]
    assert best(dataset, fitted, asked(dataset, "bob"), 1) == ["coffee-set"]


def test_a_part_that_is_not_in_the_catalogue_says_nothing_of_its_bundle():
    rows = [("ann", "tea1", 1), ("ann", "tea2", 2), ("bob", "coffee1", 3)]
    sets = [{"bundle_id": f"{t}-set", "product_ids": [f"{t}1", "no-such"]} for t in TASTES]
    dataset = worlds.world(
        rows, bundles=[*sets, {"bundle_id": "ghosts", "product_ids": ["no-such", "nor-this"]}], as_of=9
    )
    fitted = fit_affinity(dataset, {}, AffinityConfig(), np.random.default_rng(1))
    assert best(dataset, fitted, asked(dataset, "ann"), 1) == ["tea-set"]


def test_a_shop_without_bundles_has_an_empty_part():
    dataset = worlds.two_tastes()
    fitted = fit_affinity(dataset, {}, AffinityConfig(), np.random.default_rng(1))
    assert fitted.signals.n_bundles == 0
    assert len(fitted.score(worlds.query(dataset, "tea-3"), *shelf(dataset))) == 0


def test_saved_and_loaded_it_scores_bit_identically(known, model, tmp_path):
    save_value(model, tmp_path / "model")
    again = load_value(BundleAffinity, tmp_path / "model")
    for who in ("tea-3", "newcomer", "nobody"):
        one, other = (each.score(asked(known, who), *shelf(known)) for each in (model, again))
        assert one.tobytes() == other.tobytes()


def test_fitted_twice_it_is_the_same(known, model):
    again = fit_affinity(known, {}, AffinityConfig(ranker=SMALL), np.random.default_rng(1))
    query = asked(known, "coffee-9")
    assert again.score(query, *shelf(known)).tobytes() == model.score(query, *shelf(known)).tobytes()


def made_pairs(rng, n_customers=20, n_bundles=9):
    key = np.sort(rng.choice(n_customers * n_bundles, 60, replace=False))
    at = rng.integers(0, 50, len(key)) * 10
    return Pairs(
        (key // n_bundles).astype(np.int32), (key % n_bundles).astype(np.int32), at,
        np.ones(len(key), np.float32), (n_customers, n_bundles),
    )  # fmt: skip


def test_the_latest_bundles_of_every_customer_are_hidden():
    rng = np.random.default_rng(3)
    pairs = made_pairs(rng)
    hidden = hidden_pairs(pairs, 0.3, rng)
    for who in np.unique(pairs.customer_idx):
        own = pairs.customer_idx == who
        n = max(1, round(0.3 * own.sum()))
        assert hidden[own].sum() == n
        if n < own.sum():
            assert pairs.at[own & hidden].min() >= pairs.at[own & ~hidden].max()


def test_nothing_of_a_hidden_pair_is_in_its_lesson():
    """A bundle that one customer alone has, and nobody's parts are: with it hidden no signal but its size may speak."""
    rng = np.random.default_rng(5)
    pairs = made_pairs(rng, n_bundles=9)
    only = replace(
        pairs, customer_idx=np.append(pairs.customer_idx, 19).astype(np.int32),
        bundle_idx=np.append(pairs.bundle_idx, 9).astype(np.int32), at=np.append(pairs.at, 10**6),
        weight=np.append(pairs.weight, np.float32(1)), shape=(20, 10),
    )  # fmt: skip
    wants = only.matrix
    parts = find_parts(
        [np.array([b], np.int32) for b in range(9)] + [np.empty(0, np.int32)], wants, SignalConfig(), rng
    )
    hidden = hidden_pairs(only, 0.1, rng)
    assert hidden[-1]
    known = only.of(~hidden)
    signals = fit_signals(parts, known.matrix, wants, known.sold, SignalConfig())
    own = known.bundle_idx[known.customer_idx == 19]
    row = signal_matrix(Shopper(np.sort(own), np.empty(0, np.int32)), signals, no_bundles(signals.n_products), 0.3)[9]
    told = dict(zip(SIGNALS, row.tolist(), strict=True))
    silent = set(SIGNALS) - {"rank_walk", "rank_linear", "n_bundles"}
    assert {name: told[name] for name in silent} == dict.fromkeys(silent, 0.0)


def test_a_lesson_has_the_hidden_bundles_as_its_answer():
    rng = np.random.default_rng(7)
    pairs = made_pairs(rng)
    wants = pairs.matrix
    parts = find_parts([np.array([b, b + 1], np.int32) % 9 for b in range(9)], wants, SignalConfig(), rng)
    ranker = RankerConfig(negatives=1000)
    rows = learn_bundle_lessons(parts, pairs, wants, SignalConfig(), ranker, Limits(50, 50, 0.1), rng)
    assert len(rows.matrix) == rows.sizes.sum() == len(rows.wanted)
    assert 0 < len(rows.sizes) <= len(np.unique(pairs.customer_idx))
    assert rows.wanted.sum() >= len(rows.sizes)
