"""Kinds: brand, category, promotion and who is fond of what, against counts that can be made by hand."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.dataset import build_dataset
from features.definitions import FEATURES, feature_matrix
from features.history import EMPTY
from features.item_facts import fit_item_facts
from features.kind_facts import CATEGORY_PRIOR, LEAST_SHARING, LIFT_PRIOR
from tests import worlds

EACH = 30  # customers of each tier; all gold ones and a tenth of the plain ones bought wine


def purchases():
    rows = [(f"gold{n}", "wine", 1 + n % 3) for n in range(EACH)]
    rows += [(f"plain{n}", "wine", 1) for n in range(3)]
    rows += [(f"plain{n}", "beer", 2) for n in range(EACH)] + [(f"plain{n}", "beer", 9) for n in range(6)]
    price = [10.0 if item == "wine" else 4.0 if day == 2 else 3.0 for _, item, day in rows]
    return worlds.events(rows).with_columns(pl.Series("price", price))


@pytest.fixture(scope="module")
def shop():
    tiers = {f"{tier}{n}": tier for tier in ("gold", "plain") for n in range(EACH)}
    customers = [
        {"customer_id": who, "attributes": json.dumps({"tier": tier, "born": who, "vip": tier == "gold"})}
        for who, tier in tiers.items()
    ]
    products = [
        {"product_id": "wine", "category": "drinks/wine", "brand": "Chateau", "price": 10.0, "member_price": 8.0},
        {"product_id": "beer", "category": "drinks/beer", "brand": "Brau", "price": 4.0},
        {"product_id": "bread"},
    ]
    frames = {
        "events": purchases(), "customers": worlds.rows_of("customers", customers),
        "products": worlds.rows_of("products", products),
    }  # fmt: skip
    return build_dataset(worlds.ToyTables(frames), "toy", worlds.TIMEZONE, worlds.day(10))


@pytest.fixture(scope="module")
def facts(shop):
    return fit_item_facts(shop)


def idx(shop, item):
    return shop.products.ids.idx(item)


def seen(shop, facts, item, attributes, history=EMPTY):
    row = feature_matrix(history, np.array([idx(shop, item)], np.int32), worlds.day(10), facts, attributes)[0]
    return dict(zip(FEATURES, row.tolist(), strict=True))


def test_a_value_shared_by_enough_says_how_much_more_its_customers_buy(shop, facts):
    usual = (EACH + 3) / (2 * EACH)
    gold = np.log((EACH + LIFT_PRIOR * usual) / (EACH + LIFT_PRIOR) / usual)
    plain = np.log((3 + LIFT_PRIOR * usual) / (EACH + LIFT_PRIOR) / usual)
    assert facts.kinds.attribute_values == ("tier=gold", "tier=plain", "vip=false", "vip=true")
    assert seen(shop, facts, "wine", {"tier": "gold"})["attribute_lift"] == pytest.approx(gold, rel=1e-6)
    assert seen(shop, facts, "wine", {"tier": "plain"})["attribute_lift"] == pytest.approx(plain, rel=1e-6)
    assert seen(shop, facts, "wine", {"tier": "gold", "vip": "false"})["attribute_lift"] == pytest.approx(
        (gold + plain) / 2, rel=1e-6
    )


def test_what_few_share_is_not_kept_and_what_few_bought_is_not_told_apart(shop, facts):
    assert LEAST_SHARING > 1
    assert not any("born" in value for value in facts.kinds.attribute_values)
    assert seen(shop, facts, "bread", {"tier": "gold"})["attribute_lift"] == 0
    assert np.isnan(seen(shop, facts, "wine", {"born": "gold1"})["attribute_lift"])
    assert np.isnan(seen(shop, facts, "wine", {})["attribute_lift"])


def test_promotion_is_what_was_paid_lately_and_what_members_are_spared(shop, facts):
    beer, wine = seen(shop, facts, "beer", {}), seen(shop, facts, "wine", {})
    usual = (EACH * 4.0 + 6 * 3.0) / (EACH + 6)  # the last seven days with prices begin after day 2
    assert beer["price_lately"] == pytest.approx(np.log(3.0 / usual), rel=1e-5)
    assert wine["member_discount"] == pytest.approx(0.2)
    assert wine["price_lately"] == pytest.approx(0)
    assert np.isnan([seen(shop, facts, "bread", {})["price_lately"], beer["member_discount"]]).all()


def test_a_category_is_bought_again_as_its_items_are(shop, facts):
    overall = 6 / (EACH + 3 + EACH)  # six of all (customer, item) pairs were bought again, all of them beer
    rate = (6 + CATEGORY_PRIOR * overall) / (EACH + CATEGORY_PRIOR)
    assert seen(shop, facts, "beer", {})["category_rebuy_rate"] == pytest.approx(rate)
    assert np.isnan(seen(shop, facts, "bread", {})["category_rebuy_rate"])


def test_own_brand_and_own_repurchase_of_a_category(shop, facts):
    history = shop.product_events.of(shop.customers.ids.idx("plain0"))
    beer, wine, bread = (seen(shop, facts, item, {}, history) for item in ("beer", "wine", "bread"))
    assert (beer["category_own_rebuy"], wine["category_own_rebuy"]) == (1, 0)
    fades = {"wine": 0.95**2, "beer": 0.95 + 1}
    assert beer["brand_share"] == pytest.approx(fades["beer"] / sum(fades.values()))
    assert wine["brand_share"] == pytest.approx(fades["wine"] / sum(fades.values()))
    assert np.isnan(bread["brand_share"])


def test_the_future_changes_no_table(shop, facts):
    later = worlds.events([("gold0", "beer", 11)] * 40).with_columns(pl.lit(1.0).alias("price"))
    frames = {"events": pl.concat([purchases(), later]), "products": shop.products.frame.select(
        "product_id", "category", "brand", "price", "member_price")}  # fmt: skip
    again = fit_item_facts(
        replace(
            build_dataset(worlds.ToyTables(frames), "toy", worlds.TIMEZONE, worlds.day(10)), customers=shop.customers
        )
    )
    assert again.kinds.attribute_lift.data.tobytes() == facts.kinds.attribute_lift.data.tobytes()
    assert again.kinds.price_lately.tobytes() == facts.kinds.price_lately.tobytes()
    assert again.kinds.category_rebuy_rate.tobytes() == facts.kinds.category_rebuy_rate.tobytes()
