"""The honest baselines on a shop that fits on a napkin."""

import numpy as np
import pytest

from tests import worlds
from training.baselines import basket_counts, buyer_share, fit_baselines


@pytest.fixture
def shop():
    rows = [("ann", "tea", 1), ("ann", "tea", 2), ("ann", "jam", 2), ("ann", "milk", 3)]
    rows += [(who, "bread", 4) for who in ("bob", "cai", "dan")] + [("bob", "milk", 5), ("bob", "milk", 5)]
    return worlds.world(rows, products=[{"product_id": "unsold"}])


def ranked(shop, how, customer, k, policy="allow", hidden=()):
    showable = np.array([name not in hidden for name in shop.products.ids], np.bool_)
    baselines = fit_baselines(shop, showable)
    history = shop.product_events.of(shop.customers.ids.idx(customer))
    return [shop.products.ids.text(int(i)) for i in getattr(baselines, f"rank_by_{how}")(history, k, policy)]


def test_own_items_by_baskets_then_ties_by_popularity_then_filled_with_it(shop):
    assert ranked(shop, "frequency", "ann", 4) == ["tea", "milk", "jam", "bread"]
    assert ranked(shop, "frequency", "ann", 2) == ["tea", "milk"]


def test_a_stranger_gets_popularity(shop):
    assert ranked(shop, "frequency", "nobody", 2) == ranked(shop, "popularity", "nobody", 2) == ["bread", "milk"]


def test_what_nobody_bought_is_never_shown(shop):
    assert "unsold" not in ranked(shop, "popularity", "ann", 10)


def test_policies_hold_for_baselines_too(shop):
    assert ranked(shop, "popularity", "ann", 5, "exclude") == ["bread"]
    assert ranked(shop, "popularity", "ann", 5, "only") == ["milk", "tea", "jam"]
    assert ranked(shop, "frequency", "ann", 5, "only") == ["tea", "milk", "jam"]
    assert ranked(shop, "frequency", "ann", 5, "exclude") == ["bread"]


def test_hidden_items_are_hidden_from_baselines_too(shop):
    assert ranked(shop, "frequency", "ann", 3, hidden=("tea", "bread")) == ["milk", "jam"]


def test_two_lines_of_one_basket_are_one_basket(shop):
    items, counts = basket_counts(shop.product_events.of(shop.customers.ids.idx("bob")))
    assert [shop.products.ids.text(int(i)) for i in items] == ["bread", "milk"]
    assert counts.tolist() == [1, 1]


def test_share_of_buyers_is_never_zero(shop):
    share = buyer_share(shop)
    assert share[shop.products.ids.idx("bread")] == 4 / 5
    assert share[shop.products.ids.idx("unsold")] == 1 / 5
