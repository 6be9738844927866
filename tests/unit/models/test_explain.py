"""Reasons say what is true of this customer, in both languages."""

from dataclasses import replace

import numpy as np
import pytest

from features.history import DAY_US
from features.purchases import read_purchases
from models.catalogue import SOURCES
from models.explain import as_fallback, explained, explained_by_grounds
from models.items import ItemTable
from models.rank.attribution import Grounds
from tests import worlds

TOY = worlds.two_tastes()
ITEMS = ItemTable.of(TOY.products)


def fitted(name):
    return SOURCES[name].fit(TOY, SOURCES[name].config(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("days", "code", "zh"),
    [
        ((40.1,), "bought_today", "您今天买过"),
        ((30,), "bought_once", "10 天前"),
        ((20, 30), "bought_before", "买过 2 次"),
    ],
)
def test_what_was_bought_is_told_with_its_times(days, code, zh):
    query = worlds.query(TOY, "", history=worlds.history(TOY, [("tea1", d) for d in days]))
    query = replace(query, at=worlds.day(40.5))
    why = explained(fitted("repeat"), "repeat", query, TOY.products.ids.idx("tea1"), ITEMS)
    assert why.code == code
    assert zh in why.zh


@pytest.mark.parametrize(("bought", "code", "said"), [(38.9, "bought_once", "2 days"), (39.1, "bought_once", "1 day "),
                                                       (40.1, "bought_today", "today")])  # fmt: skip
@pytest.mark.parametrize("at", [40.2, 40.5, 40.99])
def test_days_are_counted_as_the_ranker_counts_them_whatever_the_hour(bought, code, said, at):
    asked = replace(worlds.query(TOY, history=worlds.history(TOY, [("tea1", bought)])), at=worlds.day(at))
    tea1 = TOY.products.ids.idx("tea1")
    why = explained(fitted("repeat"), "repeat", asked, tea1, ITEMS)
    assert (why.code, said in why.en) == (code, True), why
    days = read_purchases(asked.history, asked.moment, len(TOY.products)).days
    known = {"days_since": float(days[0]), "count": 1.0}
    assert explained_by_grounds(Grounds(("lately",), known), {}, asked, tea1, ITEMS) == why


def test_a_neighbour_names_the_item_that_led_to_it():
    query = worlds.query(TOY, "", history=worlds.history(TOY, [("tea1", 30)]))
    why = explained(fitted("itemknn"), "itemknn", query, TOY.products.ids.idx("tea2"), ITEMS)
    assert why.code == "because_of"
    assert "tea1" in why.en


@pytest.mark.parametrize(("days", "old"), [(0, False), (7, False), (8, True)])
def test_an_old_release_does_not_say_what_is_popular_right_now(days, old):
    asked = replace(worlds.query(TOY), learned_until=TOY.as_of - days * DAY_US)
    bread = TOY.products.ids.idx("bread")
    said = [explained(fitted("popular"), "popular", asked, bread, ITEMS), as_fallback("popular", asked)]
    assert [why.code.endswith("_before") for why in said] == [old, old]
    assert ["right now" in why.en for why in said] == [not old, not old]


def test_a_source_that_cannot_explain_still_gives_a_reason():
    why = explained(fitted("popular"), "popular", worlds.query(TOY), TOY.products.ids.idx("bread"), ITEMS)
    assert (why.code, why.zh) == ("popular", "近期热销")
