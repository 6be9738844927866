"""Trails: what histories of items do not tell of customers."""

import numpy as np
import polars as pl
import pytest

from features.columns import EventKind
from features.dataset import build_dataset
from features.trails import NO_TRAIL, TOLD_DISCOUNT, bare_trail, joined_trails
from tests import worlds
from tests.worlds import SCHEMAS, TIMEZONE, ToyTables, day


def told(rows):
    made = [
        {"event_id": f"e{n}", "customer_id": who, "kind": kind, "at": day(at), "item_kind": "product"} | rest
        for n, (who, kind, at, rest) in enumerate(rows)
    ]  # fmt: skip
    return build_dataset(ToyTables({"events": pl.DataFrame(made, schema=SCHEMAS["events"])}), "toy", TIMEZONE)


WORLD = [
    ("ann", "purchase", 1, {"item_id": "tea", "channel": "app", "props": '{"coupon_disc":0.5}'}),
    ("ann", "purchase", 2, {"item_id": "tea", "channel": "store", "props": '{"coupon_disc":0}'}),
    ("bob", "purchase", 3, {"item_id": "tea"}),
    ("ann", "open", 4, {"channel": "wecom"}),
    ("bob", "join_group", 5, {}),
    ("ann", "view", 6, {"item_id": "tea", "props": '{"promo":"618"}'}),
]


def test_a_trail_holds_channels_and_events_about_no_item():
    dataset = told(WORLD)
    ann, bob = (dataset.trails.of(dataset.customers.ids.idx(who)) for who in ("ann", "bob"))
    assert dataset.trails.channels == ("app", "store", "wecom")
    assert [dataset.trails.channels[code] for code in ann.channel] == ["app", "store", "wecom"]
    assert ann.is_bare.tolist() == [False, False, True]
    assert bob.kind.tolist() == [EventKind.join_group]
    assert bob.channel.tolist() == [-1]
    assert dataset.trails.of(-1) is NO_TRAIL


def test_a_discount_told_stands_beside_its_line_of_the_history():
    dataset = told(WORLD)
    lines = dataset.product_events
    assert len(dataset.trails.told) == len(lines)
    of_ann = slice(0, 3)
    assert lines.at[of_ann].tolist() == [day(1), day(2), day(6)]
    # A coupon of nothing is none, and a promotion that was only looked at was not bought.
    assert dataset.trails.told.tolist() == [True, False, False, False]


def test_a_dataset_of_an_earlier_moment_has_the_trails_until_then():
    full = told(WORLD)
    early = full.before(day(4))
    assert early.trails.of(full.customers.ids.idx("bob")).at.tolist() == []
    assert early.trails.of(full.customers.ids.idx("ann")).at.tolist() == [day(1), day(2)]
    assert len(early.trails.told) == len(early.product_events) == 3
    assert full.digest != early.digest


def test_channels_and_discounts_are_part_of_what_a_fit_can_see():
    plain = [(who, kind, at, rest | {"channel": None, "props": None}) for who, kind, at, rest in WORLD]
    assert told(plain).digest != told(WORLD).digest


@pytest.mark.parametrize(
    ("props", "says"),
    [
        ('{"retail_disc":1.29}', True), ('{"retail_disc":0}', False), ('{"retail_disc":0.00}', False),
        ('{"retail_disc":"0.00"}', False), ('{"Coupon":"SAVE5"}', True), ('{"coupon":""}', False),
        ('{"coupon":null}', False), ('{"is_promo":true}', True), ('{"is_promo":false}', False),
        ('{"vouchers":["a"]}', True), ('{"vouchers":[]}', False), ('{"满减":20}', True), ('{"优惠券":"新人"}', True),
        ('{"colour":"red"}', False), ('{"note":"a discount"}', False), ('{"retail_disc":-0.5}', True),
    ],
)  # fmt: skip
def test_a_discount_is_told_by_a_name_and_a_value_that_is_not_nothing(props: str, says: bool):  # noqa: FBT001
    assert pl.Series([props]).str.contains(TOLD_DISCOUNT).item() is says


def test_trails_of_several_ids_become_one_in_the_order_of_time():
    one, other = bare_trail([(3, 12), (1, 12)]), bare_trail([(2, 15)])
    assert joined_trails([one, other]).at.tolist() == [1, 2, 3]
    assert one.then(other).at.tolist() == [1, 3, 2]
    assert one.before(3).at.tolist() == [1]


def test_a_world_without_channels_has_empty_trails():
    dataset = worlds.two_tastes()
    assert dataset.trails.channels == ()
    assert len(dataset.trails.of(0)) == 0
    assert not np.any(dataset.trails.told)
