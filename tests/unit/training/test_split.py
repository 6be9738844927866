"""Splits of small shops whose truth is known."""

import numpy as np
import pytest

from features.errors import ContractError
from tests import worlds
from tests.worlds import day
from training.settings import TrainingSettings
from training.split import choose_horizon_days, choose_protocol, split_dataset

TOLD = TrainingSettings(protocol="time_split", horizon_days=7)


def names(data, idxs):
    return sorted(data.products.ids.text(int(i)) for i in idxs)


@pytest.fixture
def shop():
    return worlds.world(
        [
            ("ann", "tea", 1), ("ann", "tea", 10), ("ann", "milk", 32.2), ("ann", "jam", 34, "view"),
            ("ann", "bread", 35), ("ann", "tea", 36), ("bob", "rice", 3), ("cai", "rice", 38), ("dan", "tea", 25),
            ("ann", "salt", 33.1, "view"),
        ],
        as_of=40,
    )  # fmt: skip


def test_everything_of_the_last_week_is_truth_and_the_first_basket_stands_apart(shop):
    split = split_dataset(shop, TOLD)
    ann, cai = split.cases
    assert names(shop, ann.truth) == ["bread", "milk", "tea"]
    assert names(shop, ann.basket) == ["milk"]
    assert ann.basket_at == day(32.2)
    assert names(shop, cai.truth) == ["rice"]
    assert split.known.as_of == ann.at == day(31)


def test_the_basket_is_asked_with_what_happened_since_the_cut():
    data = worlds.world(
        [("ann", "tea", 1), ("ann", "jam", 34, "view"), ("ann", "jam", 36), ("ann", "tea", 39)], as_of=40
    )
    (ann,) = split_dataset(data, TOLD).cases
    assert names(data, ann.tail.item_idx) == ["jam"]
    assert ann.tail.at.tolist() == [day(34)]
    assert ann.tail.n_baskets == 0


def test_validation_lies_before_the_test_part(shop):
    (dan,) = split_dataset(shop, TOLD, "validation").cases
    assert names(shop, dan.truth) == ["tea"]
    assert dan.at == day(24)


def test_last_basket_is_the_truth_and_its_earlier_baskets_are_known(shop):
    split = split_dataset(shop, TrainingSettings(protocol="last_basket"))
    (ann,) = split.cases  # the others bought once: there is nothing to ask from, and the basket stays known
    assert names(shop, ann.truth) == ["tea"]
    known = split.known.product_events
    assert names(shop, known.of(ann.customer_idx).purchases.item_idx) == ["bread", "milk", "tea", "tea"]
    assert len(known.of(shop.customers.ids.idx("bob"))) == 1


def test_without_order_a_tenth_is_held_out_and_the_note_says_so():
    data = worlds.world([("ann", f"p{i}", 5) for i in range(20)] + [("bob", "p1", 5)])
    split = split_dataset(data, TrainingSettings())
    (ann,) = split.cases
    assert split.protocol == "hold_out"
    assert "no order" in split.note
    assert len(ann.truth) == 2
    again = split_dataset(data, TrainingSettings()).cases[0]
    assert np.array_equal(ann.truth, again.truth)
    other = split_dataset(data, TrainingSettings(), "validation").cases[0]
    assert not set(other.truth) & set(ann.truth)


def test_data_made_from_sequences_is_split_by_last_basket():
    rows = [(who, f"p{n}", 30 - n) for who in "abc" for n in range(4)]
    data = worlds.world(rows)
    assert choose_protocol(data, data.product_events.purchases) == "last_basket"


def test_a_living_shop_is_split_in_time(shop):
    assert choose_protocol(shop, shop.product_events.purchases) == "time_split"


def test_horizon_is_at_most_a_quarter_of_the_data(shop):
    assert choose_horizon_days(shop.product_events.purchases, shop.as_of) == 7
    short = worlds.world([("a", "x", 0), ("a", "x", 5)])
    assert choose_horizon_days(short.product_events.purchases, short.as_of) == 1


def test_big_shops_are_judged_on_a_seeded_sample_that_is_told():
    data = worlds.world([(f"c{n}", "tea", at) for n in range(30) for at in (1, 38)], as_of=40)
    few = TOLD.model_copy(update={"customers": 10})
    split = split_dataset(data, few)
    assert len(split.cases) == 10
    assert "10 of 30" in split.note
    chosen = [c.customer_idx for c in split.cases]
    assert chosen == [c.customer_idx for c in split_dataset(data, few).cases]
    assert chosen != [c.customer_idx for c in split_dataset(data, few.model_copy(update={"seed": 1})).cases]


def test_a_shop_without_purchases_is_told_what_is_missing():
    with pytest.raises(ContractError, match="no purchases"):
        split_dataset(worlds.world([("a", "x", 1, "view")]), TOLD)
