"""When a product came: what may have been there from the first day is no arrival (ADR 8)."""

import numpy as np
import pytest

from models.recommenders.newest import UNKNOWN, arrivals
from models.slate import Request
from tests import serving
from tests.worlds import START, day, world

UNDATED = None


def came(events, products=(), as_of=60.0):
    """Day on which each product came, of those that did."""
    shop = world(events, products=products, as_of=as_of)
    at = arrivals(shop)
    days = {shop.products.ids.text(i): (int(at[i]) - START) / 86_400_000_000 for i in np.flatnonzero(at > UNKNOWN)}
    return {name: round(number, 6) for name, number in days.items()}


def sold(item, *days):
    """One customer a day, each buying the item once."""
    return [(f"{item}-{n}", item, at) for n, at in enumerate(days)]


OPEN = sold("bread", 0, 10, 20, 30, 40, 50)


def row(product_id, valid_from=UNDATED, **more):
    return {"product_id": product_id, "valid_from": valid_from if valid_from is None else day(valid_from)} | more


def test_a_young_shop_without_dates_has_no_arrivals():
    slow = sold("salt", 30) + sold("soap", 45) + sold("cork", 59)
    assert came(OPEN + slow) == {}
    assert came(OPEN + slow, [row(name) for name in ("bread", "salt", "soap", "cork", "never-sold")]) == {}


def test_created_at_goes_before_everything():
    told = [row("bread", created_at=day(3)), row("never-sold", 5, created_at=day(7)), row("soon", created_at=day(61))]
    assert came(OPEN, told) == {"bread": 3, "never-sold": 7}


def test_what_joined_the_catalogue_later_came_then_sold_or_not():
    told = [row("bread", -5), row("tea", 40), row("never-sold", 50), row("first-load", -4.5)]
    assert came([*OPEN, *sold("tea", 45)], told) == {"tea": 40, "never-sold": 50}


def test_later_versions_of_a_row_are_no_arrivals():
    assert came(OPEN, [row("bread", -5), row("cork", -5), row("cork", 50), row("bread", 55)]) == {}
    assert came(OPEN, [row("bread"), row("cork"), row("cork", 50)]) == {}


def test_what_was_in_the_first_load_did_not_come_however_late_it_sells():
    assert came(OPEN + sold("tea", 55, 55.1, 55.2, 55.3), [row("bread", 0), row("tea", 0)]) == {}


def test_a_catalogue_that_came_after_the_first_sales_says_nothing_of_what_had_sold_before():
    loaded = [row("bread", 50), row("tea", 50)]
    assert came(OPEN + sold("tea", 5, 6), loaded) == {}
    assert came(OPEN + sold("tea", 45, 46, 47, 48), loaded) == {"tea": 45}


@pytest.mark.parametrize(
    ("days", "comes"),
    [
        ((30,) * 6, False),  # half of the time, six customers: (1/2)^6 = .016
        ((30,) * 7, True),  # (1/2)^7 = .008
        ((54,), False),  # a tenth of the time, one customer
        ((54, 54), True),  # (1/10)^2 = .01
        ((59.5,), True),  # 1/120
        ((0, 54, 54, 54), False),  # sold on the first day
    ],
)
def test_what_sells_clearly_late_came_with_its_first_sale(days, comes):
    assert came(OPEN + sold("tea", *days)) == ({"tea": days[0]} if comes else {})


def test_one_customer_who_buys_often_is_one_customer():
    assert came(OPEN + [("ann", "tea", at) for at in (50, 51, 52, 53, 54)]) == {}


def test_what_is_not_known_yet_did_not_come():
    assert came(OPEN + sold("tea", 55, 55, 55), [row("bread", -5), row("cork", 70)], as_of=51) == {}


def test_nothing_of_a_young_shop_is_said_to_be_newly_arrived():
    shop = world(OPEN + sold("salt", 30), as_of=60)
    models = serving.fitted(shop, ("newest", "own_kinds", "popular"))
    slate = models.pipeline.recommend(Request(models.query(-1, shop.as_of), "new", 2), models.items)
    assert {pick.stage for pick in slate.picks} == {"fallback:popular"}
    assert "only 0 of 2 found for this scene; filled from popular" in slate.degraded
