"""Ranking features against numbers that can be made by hand, and their promises."""

from dataclasses import replace

import numpy as np
import pytest

from features.definitions import FEATURES, feature_matrix
from features.item_facts import fit_item_facts
from features.purchases import read_purchases
from tests import worlds

ROWS = [
    ("ann", "tea", 1), ("ann", "tea", 3), ("ann", "milk", 3), ("ann", "milk", 7),
    ("bob", "tea", 2), ("bob", "rice", 4),
]  # fmt: skip


@pytest.fixture(scope="module")
def toy():
    return worlds.world(
        ROWS,
        as_of=10,
        products=[{"product_id": "tea", "category": "drinks"}, {"product_id": "rice", "category": "food"}],
    )


@pytest.fixture(scope="module")
def facts(toy):
    return fit_item_facts(toy)


def features(toy, facts, customer, item, day=10):
    history = toy.product_events.of(toy.customers.ids.idx(customer)).before(worlds.day(day))
    row = feature_matrix(history, toy.products.ids.idxs([item]), worlds.day(day), facts)[0]
    return dict(zip(FEATURES, row.tolist(), strict=True))


def test_counts_decays_and_rates(toy, facts):
    tea = features(toy, facts, "ann", "tea")
    assert tea["count"] == 2
    assert tea["decayed_0.5"] == pytest.approx(0.5**2 + 0.5)
    assert tea["rate"] == pytest.approx(2 / 3)
    assert tea["share_of_baskets"] == pytest.approx(2 / 3)
    assert tea["half_life_10d"] == pytest.approx(0.5**0.9 + 0.5**0.7)


def test_time_since_and_gaps_in_baskets_and_days(toy, facts):
    tea = features(toy, facts, "ann", "tea")
    assert (tea["baskets_since"], tea["days_since"], tea["baskets_since_first"], tea["days_since_first"]) == (
        2,
        7,
        3,
        9,
    )
    assert (tea["gap_baskets"], tea["gap_days"], tea["last_gap"]) == (1, 2, 1)


def test_due_is_the_log_of_waiting_over_the_gap_to_expect(toy, facts):
    tea, idx = features(toy, facts, "ann", "tea"), toy.products.ids.idx("tea")
    expected = (np.log(2) * 1 + 2 * float(facts.log_gap_days[idx])) / 3
    assert tea["due_days"] == pytest.approx(np.log(7) - expected, rel=1e-5)


def test_what_was_never_bought_counts_zero_and_has_no_times(toy, facts):
    rice = features(toy, facts, "ann", "rice")
    assert (rice["count"], rice["hazard"], rice["share_of_own"]) == (0, 0, 0)
    assert np.isnan(rice["days_since"])
    assert np.isnan(rice["due_days"])


def test_categories_speak_of_their_items(toy, facts):
    assert features(toy, facts, "ann", "tea")["category_decayed"] == pytest.approx(0.95**2 + 0.95)
    assert features(toy, facts, "ann", "rice")["category_share"] == 0
    assert np.isnan(features(toy, facts, "ann", "milk")["category_share"])


def test_popularity_ends_before_the_day_of_the_question(toy, facts):
    # On day 3 three lines lie before it, two of tea; the day's own do not count.
    assert features(toy, facts, "ann", "tea", day=3)["popular_3d"] == pytest.approx(1e4)
    assert features(toy, facts, "ann", "milk", day=3)["popular_84d"] == 0


def test_a_stranger_has_features_of_items_only(toy, facts):
    tea = features(toy, facts, "nobody", "tea")
    assert tea["customer_n_baskets"] == 0
    assert tea["log_baskets"] == pytest.approx(np.log1p(3))
    assert np.isnan(tea["customer_mean_gap"])


def test_nothing_at_or_after_the_moment_can_be_seen(toy, facts):
    """Plant a future-only signal: a purchase at the moment itself changes no feature."""
    history = toy.product_events.of(0)
    moment = int(history.at[-1])
    items = np.arange(len(toy.products), dtype=np.int32)
    seen = feature_matrix(history.before(moment), items, worlds.day(7), facts)
    loud = replace(history, quantity=np.where(history.at >= moment, 1e6, history.quantity).astype(np.float32))
    assert np.array_equal(seen, feature_matrix(loud.before(moment), items, worlds.day(7), facts), equal_nan=True)


def test_the_same_question_has_the_same_bits_alone_and_among_others(toy, facts):
    history, items = toy.product_events.of(0), np.arange(len(toy.products), dtype=np.int32)
    together = feature_matrix(history, items, worlds.day(10), facts)
    for row, item in enumerate(items):
        alone = feature_matrix(history, np.array([item], np.int32), worlds.day(10), facts)
        assert alone.tobytes() == together[row : row + 1].tobytes()


def test_items_the_release_does_not_know_are_no_purchases(toy, facts):
    history = worlds.history(toy, [("tea", 1), ("unheard-of", 2)])
    assert read_purchases(history, worlds.day(10), facts.n_items).n_baskets == 1
