"""What a customer buys often, by every count that he could make himself."""

import pytest

from models.habits import is_habit
from tests import worlds

KINDS = {"t": "tea", "c": "coffee", "m": "milk", "s": "soap", "n": ""}


def bought(*baskets):
    """A history from baskets, one a day, each item named by the first letter of its kind."""
    rows = [("u", item, day) for day, items in enumerate(baskets) for item in items.split()]
    shop = worlds.world(rows, as_of=len(baskets) + 1)
    names = [shop.products.ids.text(i) for i in range(len(shop.products))]
    return worlds.history(shop, [(item, day) for _, item, day in rows]), lambda i: KINDS[names[i][0]]


@pytest.mark.parametrize(
    ("baskets", "often"),
    [
        (["t1"] * 3, True),
        (["t1"] * 2, False),  # twice may be chance
        (["t1"] * 3 + ["c1"] * 3, True),
        (["t1"] * 3 + ["c1"] * 4 + ["m1"] * 5, True),  # a quarter of the baskets
        (["t1"] * 3 + ["c1"] * 5 + ["m1"] * 5, False),  # less than a quarter
        (["t1 c1"] * 3 + ["c1"] * 3, True),  # in half as many baskets as the first
        (["t1 c1"] * 3 + ["c1"] * 4, False),  # in less than half
        (["t1 c1 m1 c2"] * 3 + ["c1 m1"], True),  # behind two, 3 of 14 lines
        (["t1 c1 m1 s1"] * 3 + ["c1 m1 s1"], False),  # behind three
        (["t1 c1 c2 c3 c4"] * 3, True),  # a fifth of the lines
        (["t1 c1 c2 c3 c4 c5"] * 3, False),  # less than a fifth
        (["t1 t2 t3 t4 t5 t6 t7 t8"] + ["c1"] * 9, False),  # one big basket
        (["t1 n1"] * 3, True),  # what has no kind is ahead of nobody
        ([], False),
        (["c1"] * 9, False),
    ],
)
def test_often_is_a_share_of_purchases_and_of_baskets_and_among_the_first(baskets, often):
    assert is_habit(*bought(*baskets), "tea") is often


def test_three_of_eighty_purchases_and_the_least_bought_brand_are_not_often():
    assert not is_habit(*bought(*["t1"] * 3, *["c1"] * 40, *["m1"] * 37), "tea")
    assert not is_habit(*bought(*["t1"] * 5, *["c1"] * 20, *["m1"] * 18), "tea")


def test_what_has_no_kind_is_no_habit():
    assert not is_habit(*bought(*["n1"] * 9), "")
