"""Whatever runs out, is hidden, has not begun or is scarce: no slate of any scene holds it, however it came there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.query import NO_ITEMS
from models.slate import Filters, Request
from tests import serving, worlds

NOW = worlds.day(60)
ITEM = st.sampled_from([f"{taste}{n}" for taste in ("tea", "coffee") for n in range(5)] + ["bread", "tea-new", "fresh"])
STATE = st.fixed_dictionaries(
    {
        "stock": st.sampled_from([None, -1.0, 0.0, 0.5, 3.0, 10.0]),
        "status": st.sampled_from([None, "active", "hidden", "expired", "deleted", "discontinued", "inactive"]),
        "created_at": st.sampled_from([None, worlds.day(1), NOW, NOW + 1]),
    }
)


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


def may_be_shown(state, low_stock):
    return (
        state["status"] in (None, "active")
        and (state["stock"] is None or state["stock"] > low_stock)
        and (state["created_at"] is None or state["created_at"] <= NOW)
    )


@settings(max_examples=60, deadline=None)
@given(
    changes=st.dictionaries(ITEM, STATE, min_size=1),
    low_stock=st.sampled_from([0.0, 0.5, 5.0]),
    scene=st.sampled_from(["home", "rebuy", "discover", "next_basket", "similar", "cart", "popular", "new"]),
    customer=st.sampled_from(["tea-1", "coffee-2", "nobody"]),
    asked=st.tuples(
        st.lists(ITEM, max_size=3), st.sampled_from([None, 7]), st.sampled_from([Filters(), Filters(category="drinks")])
    ),
)
def test_nothing_that_may_not_be_shown_is_in_any_slate(models, changes, low_stock, scene, customer, asked):
    pins, explore, filters = asked
    rows = [{"product_id": item, "title": item, "category": "drinks/tea", **state} for item, state in changes.items()]
    items = models.items.with_low_stock(low_stock).with_changes(rows)
    seeds = items.idxs(["tea2"]) if scene in ("similar", "cart") else NO_ITEMS
    query = models.query(models.customers.ids.idx(customer), NOW, seeds=seeds if scene == "similar" else NO_ITEMS)
    request = Request(
        query, scene, 15, basket=seeds if scene == "cart" else NO_ITEMS, pins=items.idxs(pins), filters=filters,
        explore_seed=explore,
    )  # fmt: skip
    slate = models.pipeline.recommend(request, items)
    shown = {items.text(pick.item_idx) for pick in slate.picks}
    assert not {item for item, state in changes.items() if not may_be_shown(state, low_stock)} & shown
    wanted = {pin for pin in pins if pin not in changes or may_be_shown(changes[pin], low_stock)}
    if filters == Filters() and scene not in ("rebuy", "discover", "new", "similar", "cart"):
        assert {pin for pin in wanted if items.idx(pin) >= 0} <= shown


def test_the_threshold_hides_what_has_as_much_or_less_and_keeps_what_is_not_known(models):
    rows = [{"product_id": f"tea{n}", "stock": stock} for n, stock in enumerate((None, 0.0, 2.0, 2.5, 3.0))]
    items = models.items.with_changes(rows)
    teas = items.idxs([f"tea{n}" for n in range(5)])
    shown = {low: items.with_low_stock(low).showable(teas, NOW).astype(int).tolist() for low in (0.0, 2.0, 3.0)}
    assert shown == {0.0: [1, 0, 1, 1, 1], 2.0: [1, 0, 0, 1, 1], 3.0: [1, 0, 0, 0, 0]}
    scarce = items.with_low_stock(2.0)
    assert scarce.with_low_stock(2.0) is scarce
    back = scarce.with_changes([{"product_id": "tea2", "stock": 9.0}])
    assert np.array_equal(back.showable(teas, NOW), [True, False, True, True, True])
