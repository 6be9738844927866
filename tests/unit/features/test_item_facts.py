"""Tables of items against counts that can be made by hand."""

import numpy as np
import pytest

from features.item_facts import GAP_PRIOR, HAZARD_PRIOR, REBUY_PRIOR, fit_item_facts
from tests import worlds

# ann: basket 0 {tea}, 1 {tea, milk}, 2 {milk}; bob: basket 0 {tea} (two lines of one day), 1 {rice}
ROWS = [
    ("ann", "tea", 1), ("ann", "tea", 3), ("ann", "milk", 3), ("ann", "milk", 7),
    ("bob", "tea", 2), ("bob", "tea", 2.1), ("bob", "rice", 4),
]  # fmt: skip


@pytest.fixture(scope="module")
def toy():
    return worlds.world(ROWS, as_of=10)


@pytest.fixture(scope="module")
def facts(toy):
    return fit_item_facts(toy)


def at(toy, name):
    return toy.products.ids.idx(name)


def test_baskets_and_buyers_are_counted_once(toy, facts):
    assert [facts.baskets[at(toy, i)] for i in ("tea", "milk", "rice")] == [3, 2, 1]
    assert [facts.buyers[at(toy, i)] for i in ("tea", "milk", "rice")] == [2, 1, 1]


def test_rebuy_rate_is_shrunk_to_the_shops(toy, facts):
    overall = 2 / 4  # ann rebought tea and milk; four (customer, item) pairs in all
    assert facts.rebuy_rate[at(toy, "tea")] == pytest.approx((1 + REBUY_PRIOR * overall) / (2 + REBUY_PRIOR))


def test_buyers_who_came_back_are_counted_and_not_smoothed(toy, facts):
    assert [facts.rebuyers[at(toy, i)] for i in ("tea", "milk", "rice")] == [1, 1, 0]
    rng = np.random.default_rng(0)
    rows = [(f"c{who}", f"p{what:02d}", day) for who, what, day in rng.integers(0, (300, 40, 30), (6000, 3)).tolist()]
    shop = worlds.world(rows, as_of=40)
    days: dict[tuple[str, str], set[int]] = {}
    for who, what, day in rows:
        days.setdefault((who, what), set()).add(day)
    again = np.zeros(len(shop.products))
    for (_, what), when in days.items():
        again[at(shop, what)] += len(when) > 1
    assert fit_item_facts(shop).rebuyers.tolist() == again.tolist()


def test_open_spells_count_as_exposure(toy, facts):
    # One basket after: rebought by ann (tea, milk); exposed also in ann's tea after its last (1) and bob's tea (1).
    overall = (2 + 1) / (4 + 10)
    assert facts.hazard[at(toy, "tea"), 0] == pytest.approx((1 + HAZARD_PRIOR * overall) / (3 + HAZARD_PRIOR))
    assert facts.hazard[at(toy, "milk"), 0] == pytest.approx((1 + HAZARD_PRIOR * overall) / (1 + HAZARD_PRIOR))


def test_log_gaps_are_means_shrunk_to_the_shops(toy, facts):
    mean = (np.log(2) + np.log(4)) / 2
    assert facts.log_gap_days[at(toy, "tea")] == pytest.approx((np.log(2) + GAP_PRIOR * mean) / (1 + GAP_PRIOR))


def test_counts_before_a_day_leave_the_day_itself_out(toy, facts):
    day = facts.day_of(worlds.day(3))
    tea, milk = at(toy, "tea"), at(toy, "milk")
    found = facts.bought_before(np.array([tea, milk], np.int32), np.array([day - 5, day, day + 1, day + 99]))
    assert found.tolist() == [[0, 0], [2, 0], [3, 1], [3, 2]]
    assert facts.all_before(np.array([day, day + 1])).tolist() == [2, 4]


def test_an_empty_shop_has_empty_tables():
    facts = fit_item_facts(worlds.world())
    assert facts.n_items == 0
    assert facts.bought_before(np.empty(0, np.int32), np.array([1])).shape == (1, 0)
