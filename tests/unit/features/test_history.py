import numpy as np

from features.columns import EventKind
from features.history import EMPTY
from tests import worlds


def test_before_is_strict():
    toy = worlds.world([("ann", "tea", 1), ("ann", "milk", 2), ("ann", "rice", 3)])
    history = toy.product_events.of(0)
    assert [toy.products.ids.text(i) for i in history.before(worlds.day(2)).item_idx] == ["tea"]
    assert len(history.before(worlds.day(2) + 1)) == 2


def test_stranger_has_an_empty_history():
    toy = worlds.world([("ann", "tea", 1)])
    assert len(toy.product_events.of(-1)) == 0
    assert EMPTY.n_baskets == 0


def test_baskets_of_a_tail_are_numbered_on():
    toy = worlds.world([("ann", "tea", 1, "purchase", "o1"), ("ann", "milk", 1.1, "purchase", "o1"), ("ann", "tea", 5)])
    history = toy.product_events.of(0)
    assert list(history.order_idx) == [0, 0, 1]
    tail = worlds.history(toy, [("milk", 9), ("tea", 9.1, "view")])
    assert list(history.then(tail).order_idx) == [0, 0, 1, 2, -1]
    assert history.then(EMPTY) is history


def test_selecting_events_keeps_customers_and_basket_numbers():
    toy = worlds.world([("ann", "tea", 1, "view"), ("ann", "tea", 2), ("bob", "tea", 3, "view"), ("cid", "tea", 4)])
    bought = toy.product_events.purchases
    assert bought.n_customers == 3
    assert list(bought.customer_idx) == [0, 2]
    assert set(bought.kind) == {EventKind.purchase}
    assert np.array_equal(bought.indptr, [0, 1, 1, 2])
