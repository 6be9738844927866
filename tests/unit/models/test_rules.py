import numpy as np
import pytest
from pydantic import ValidationError

from features.columns import ItemKind
from models.items import ItemTable
from models.rules import Rule, RuleBook
from models.steering import Steering
from tests import worlds

TOY = worlds.two_tastes()
ITEMS = ItemTable.of(TOY.products)


def rule(action, rule_id="r", **told):
    return Rule(rule_id=rule_id, action=action, **told)


def steering(*rules):
    return Steering(rules, ITEMS.idxs, ITEMS)


def some(*ids):
    return ITEMS.idxs(ids)


def test_a_rule_speaks_only_where_to_whom_and_when_it_says():
    told = rule("exclude", scenes=("home",), channels=("app",), segment={"tier": "gold"}, starts_at=10, ends_at=20)
    assert told.holds("home", "app", {"tier": "gold", "region": "x"}, 10)
    for scene, channel, attributes, at in (
        ("cart", "app", {"tier": "gold"}, 10), ("home", "", {"tier": "gold"}, 10), ("home", "app", {}, 10),
        ("home", "app", {"tier": "gold"}, 9), ("home", "app", {"tier": "gold"}, 20),
    ):  # fmt: skip
        assert not told.holds(scene, channel, attributes, at)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"action": "pin", "category": "drinks"}, "a pin names the items"),
        ({"action": "boost"}, "say which items"),
        ({"action": "exclude", "item_ids": ("a",), "factor": 2}, "belongs to boost and bury"),
        ({"action": "boost", "item_ids": ("a",), "factor": 0.5}, "does not boost"),
        ({"action": "bury", "item_ids": ("a",), "factor": 2}, "does not bury"),
        ({"action": "exclude", "item_ids": ("a",), "starts_at": 5, "ends_at": 5}, "would never hold"),
        ({"action": "exclude", "segment": {"lifecycle_stage": "loyl"}}, "lifecycle_stage is one of aware, interested"),
        ({"action": "exclude", "segment": {"lifecycle_stage": "stranger"}}, "lifecycle_stage is one of"),
        ({"action": "exclude", "segment": {"value_layer": "rich"}}, "value_layer is one of high_value"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(told, why):
    with pytest.raises(ValidationError, match=why):
        Rule(rule_id="r", **told)


def test_exclude_and_only_by_id_category_and_brand():
    shown = some("tea1", "bread", "coffee1")
    assert list(steering(rule("exclude", item_ids=("bread",))).allows(shown)) == [True, False, True]
    category = ITEMS.path(int(some("tea1")[0]))
    expected = [ITEMS.path(int(i)) == category for i in shown]
    assert list(steering(rule("only", category=category)).allows(shown)) == expected
    both = steering(rule("only", item_ids=("bread",)), rule("only", item_ids=("tea1",), rule_id="s"))
    assert list(both.allows(shown)) == [True, True, False]
    assert list(steering(rule("exclude")).allows(shown)) == [False] * 3
    assert not steering(rule("only", brand="nobody's")).allows(shown).any()


def test_a_factor_moves_an_item_by_places_whatever_the_scores_look_like():
    items = np.arange(6, dtype=np.int32)
    for score in (np.array([6, 5, 4, 3, 2, 1], np.float32), np.array([1, 0.9, 0.1, -3, -4, -50], np.float32)):
        at = Steering((rule("boost", item_ids=("x",), factor=1.25),), lambda _ids: np.array([3], np.int32))
        # 1.25 / 13 lies between 1 / 11 and 1 / 10
        assert list(np.argsort(-at.weighed(items, score), kind="stable")) == [0, 3, 1, 2, 4, 5]
        down = Steering((rule("bury", item_ids=("x",), factor=0.1),), lambda _ids: np.array([0], np.int32))
        assert np.argmin(down.weighed(items, score)) == 0


def test_without_a_factor_scores_stay_to_the_bit_and_what_is_forbidden_stays_so():
    items, score = np.arange(3, dtype=np.int32), np.array([3, -np.inf, 1], np.float32)
    assert steering(rule("exclude", item_ids=("bread",))).weighed(items, score) is score
    up = Steering((rule("boost", item_ids=("x",)),), lambda _ids: np.array([1], np.int32))
    assert up.weighed(items, score)[1] == -np.inf


def test_pins_come_in_the_order_named_unknown_ones_left_out():
    told = steering(rule("pin", item_ids=("bread", "gone", "tea1"), rule_id="a"), rule("pin", item_ids=("tea1",)))
    assert list(told.pins) == list(some("bread", "tea1"))
    assert len(steering().pins) == 0


def test_a_book_reads_its_rules_in_one_order_and_knows_their_kinds():
    one, two = rule("exclude", "b", item_ids=("x",)), rule("exclude", "a", item_kind="content", item_ids=("y",))
    assert RuleBook.of([one, two]).rules == RuleBook.of([two, one]).rules == (two, one)
    assert RuleBook.of([one, two]).kinds == {ItemKind.product, ItemKind.content}
    assert RuleBook.of([one, two]).holding("home", "", {}, 5) == (two, one)


def test_a_rule_on_bundles_looks_at_the_products_they_carry():
    parts = {0: some("tea1", "bread"), 1: some("coffee1")}
    told = Steering((rule("exclude", item_kind="bundle", category=ITEMS.path(int(some("tea1")[0]))),),
                    lambda _ids: np.empty(0, np.int32), ITEMS, parts.__getitem__)  # fmt: skip
    expected = [ITEMS.path(int(some("coffee1")[0])) != ITEMS.path(int(some("tea1")[0]))]
    assert list(told.allows(np.array([0, 1], np.int32))) == [False, *expected]
