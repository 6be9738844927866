import polars as pl
import pytest

from features.clock import local_day_start
from features.dataset import build_dataset
from tests import worlds


def test_events_at_the_moment_itself_are_not_known():
    toy = worlds.world([("ann", "tea", 1), ("ann", "milk", 2)], as_of=2)
    assert toy.counts["product_events"] == 1
    assert worlds.world([("ann", "tea", 1), ("ann", "milk", 2)]).counts["product_events"] == 2


def test_events_at_one_moment_stand_in_the_order_of_their_ids():
    toy = worlds.world([("ann", "b", 1), ("ann", "a", 1), ("ann", "c", 1)])
    assert [toy.products.ids.text(i) for i in toy.product_events.of(0).item_idx] == ["b", "a", "c"]


def test_purchases_without_order_are_grouped_by_the_shops_local_day():
    # Noon and one hour before midnight in Shanghai are one day there, and two days in UTC.
    toy = worlds.world([("ann", "a", 1.5), ("ann", "b", 1 + 23 / 24), ("ann", "c", 2 + 1 / 24)])
    assert list(toy.product_events.of(0).order_idx) == [0, 0, 1]


def test_one_order_is_one_basket_however_its_lines_are_mixed():
    rows = [("ann", "a", 1, "purchase", "x"), ("ann", "b", 1, "purchase", "y"), ("ann", "c", 1, "purchase", "x")]
    assert list(worlds.world(rows).product_events.of(0).order_idx) == [0, 1, 0]


def test_repeated_lines_stay_repeated():
    assert worlds.world([("ann", "tea", 1, "purchase", "o")] * 3).counts["purchases"] == 3


def test_attributes_are_those_valid_at_the_moment():
    rows = [{"product_id": "tea", "price": p, "valid_from": worlds.day(d)} for p, d in ((1.0, 0), (2.0, 10), (3.0, 20))]
    toy = worlds.world([("ann", "tea", 25)], products=rows)
    assert toy.products.frame["price"].to_list() == [3.0]
    assert toy.before(worlds.day(20)).products.frame["price"].to_list() == [2.0]
    assert toy.before(worlds.day(5)).products.frame["price"].to_list() == [1.0]


def test_a_cut_keeps_indexes_and_drops_what_came_later():
    toy = worlds.world([("ann", "tea", 1), ("bob", "milk", 9)])
    cut = toy.before(worlds.day(5))
    assert cut.customers.ids is toy.customers.ids
    assert cut.counts["product_events"] == 1
    assert cut.before(worlds.day(99)) is cut


def test_customers_with_personalization_off_enter_no_fit():
    said = [
        {"customer_id": "ann", "purpose": "personalization", "at": worlds.day(2), "state": "off"},
        {"customer_id": "bob", "purpose": "personalization", "at": worlds.day(1), "state": "off"},
        {"customer_id": "bob", "purpose": "personalization", "at": worlds.day(3), "state": "on"},
        {"customer_id": "cid", "purpose": "marketing", "at": worlds.day(3), "state": "off"},
    ]
    rows = [(who, "tea", 1) for who in ("ann", "bob", "cid")]
    assert worlds.world(rows, consents=said, as_of=5).customers.ids.texts == ("bob", "cid")
    # Before the refusal was said it did not hold.
    assert worlds.world(rows, consents=said, as_of=2).customers.ids.texts == ("ann", "cid")


def test_digest_depends_on_content_and_not_on_the_order_of_rows():
    frames = {"events": worlds.events([("ann", "tea", 1), ("bob", "milk", 2), ("ann", "rice", 3)])}
    turned = {"events": frames["events"].reverse()}
    build = lambda tables: build_dataset(worlds.ToyTables(tables), "toy", worlds.TIMEZONE)  # noqa: E731
    assert build(frames).digest == build(turned).digest
    more = {"events": frames["events"].with_columns(quantity=pl.lit(2.0))}
    assert build(more).digest != build(frames).digest


def test_an_empty_shop_is_a_dataset():
    toy = worlds.world()
    assert set(toy.counts.values()) == {0}


def test_codes_of_a_path_at_a_depth():
    rows = [{"product_id": p, "category": c} for p, c in (("a", "x/y/z"), ("b", "x/y/w"), ("c", None), ("d", "q"))]
    toy = worlds.world([("ann", "a", 1)], products=rows)
    codes, labels = toy.products.codes("category", depth=2)
    assert labels == ("q", "x/y")
    assert list(codes) == [1, 1, -1, 0]


def test_building_leaves_the_tables_as_they_are():
    frames = {
        "events": worlds.events([("ann", "tea", 1)]),
        "products": worlds.rows_of("products", [{"product_id": "tea"}]),
    }
    before = {name: frame.clone() for name, frame in frames.items()}
    build_dataset(worlds.ToyTables(frames), "toy", worlds.TIMEZONE)
    for name, frame in frames.items():
        assert frame.equals(before[name])


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_local_day_of_a_naive_basket_follows_the_shops_zone(zone):
    at = worlds.day(3.99)
    start = local_day_start(at, zone)
    assert start <= at < start + 86_400_000_000
