"""Assembly against brute force, and what every bundle of every answer keeps."""

import math
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundles.assembly import Choice, Limits, assemble
from models.bundles.offers import bundle_id_of
from tests.bundle_world import SCENARIO, ask, fitted

CENTS = st.integers(1, 3000)


@st.composite
def choices(draw):
    """Up to eight candidates with prices in cents (some unknown), costs, pulls, roles and pairs that clash."""
    n = draw(st.integers(1, 8))
    n_fixed = draw(st.integers(0, min(2, n)))
    price = [draw(st.one_of(CENTS, st.none())) for _ in range(n)]
    cost = [draw(st.one_of(CENTS, st.none())) for _ in range(n)]
    pull = [draw(st.integers(0, 20)) / 20 for _ in range(n)]
    between, alike = np.zeros((n, n)), np.zeros((n, n), bool)
    for a, b in combinations(range(n), 2):
        between[a, b] = between[b, a] = draw(st.integers(0, 4)) / 4
        alike[a, b] = alike[b, a] = draw(st.integers(0, 9)) == 0
    role = np.array([draw(st.integers(0, 3)) for _ in range(n)], np.int64)
    money = lambda told: np.array([math.nan if x is None else x / 100 for x in told])  # noqa: E731
    return Choice(money(price), money(cost), np.array(pull), between, alike, role, n_fixed)


@st.composite
def limits(draw):
    least = draw(st.integers(1, 4))
    maybe = lambda values: draw(st.one_of(st.none(), values))  # noqa: E731
    return Limits(
        least, draw(st.integers(least, 5)), maybe(st.integers(1, 8000).map(lambda x: x / 100)),
        maybe(st.integers(1, 8000).map(lambda x: x / 100)), draw(st.sampled_from([0.0, 0.1, 0.25])),
        maybe(st.sampled_from([-1.0, 0.0, 0.3])), draw(st.sampled_from([0, 0, 1, 3])),
    )  # fmt: skip


def by_hand(choice, limits):
    """Every set that keeps the limits, with its key: written without arrays."""
    n, found = len(choice.price), []
    for size in range(n - choice.n_fixed + 1):
        for added in combinations(range(choice.n_fixed, n), size):
            held = (*range(choice.n_fixed), *added)
            price = float(np.round(sum(float(choice.price[i]) for i in held) * (1 - limits.discount), 2))
            if not keeps(choice, limits, held, price):
                continue
            worth = sum(choice.pull[i] - limits.least_pull for i in added)
            if size > 1:
                pairs = sum(choice.between[a, b] for a, b in combinations(added, 2))
                worth += 2 * limits.together * pairs / (size - 1)
            aim = limits.reach if limits.reach is not None else limits.target_price
            steps = 0 if aim is None else math.floor(abs(price - aim) / (limits.step * aim) + 1e-9)
            found.append((steps, round(-float(worth), 9), len(held), held))
    return sorted(found)


def keeps(choice, limits, held, price):
    cost, bits = sum(float(choice.cost[i]) for i in held), 0
    for i in held:
        bits |= int(choice.role[i])
    floor = limits.margin_floor
    return (
        limits.size_min <= len(held) <= limits.size_max
        and not any(choice.alike[a, b] for a, b in combinations(held, 2))
        and (limits.target_price is None or price <= limits.target_price + 1e-9)
        and (limits.reach is None or price >= limits.reach - 1e-9)
        and (floor is None or (price > 0 and 1 - cost / price >= floor - 1e-9))
        and bits & limits.roles == limits.roles
    )


@given(choices(), limits())
def test_the_best_set_is_the_one_that_trying_all_by_hand_finds(choice, limits):
    expected, found = by_hand(choice, limits), assemble(choice, limits, 500)
    assert {one.members for one in found} == {held for *_, held in expected}
    assert [(one.distance, round(-one.worth, 9)) for one in found] == [row[:2] for row in expected]


@given(choices(), limits())
def test_asking_for_fewer_gives_the_first_of_more(choice, limits):
    assert assemble(choice, limits, 2) == assemble(choice, limits, 500)[:2]


def test_too_many_candidates_are_a_mistake_of_the_program():
    n = 40
    many = Choice(np.ones(n), np.ones(n), np.ones(n), np.zeros((n, n)), np.zeros((n, n), bool), np.zeros(n, np.int64))
    with pytest.raises(ValueError, match="too many"):
        assemble(many, Limits(), 1)


@cache  # no fixture: its text in a report of Hypothesis would be as long as a book
def known():
    return fitted(
        [{"bundle_id": "own", "product_ids": ["tea", "honey"], "price": 19.9}], scenarios=[SCENARIO]
    )  # fmt: skip


IDS = ["vacuum", "bags", "mop", "purifier", "tea", "tea-rare", "cup", "cup-large", "honey", "bread", "lamp"]


WISHES = st.fixed_dictionaries(
    {
        "size_max": st.one_of(st.none(), st.integers(2, 5)),
        "target_price": st.one_of(st.none(), st.floats(1, 1500)),
        "spend_threshold": st.one_of(st.none(), st.floats(1, 1500)),
        "margin_floor": st.one_of(st.none(), st.floats(-1, 1)),
        "discount": st.one_of(st.none(), st.floats(0, 0.5)),
        "item_ids": st.lists(st.sampled_from(IDS), max_size=2, unique=True).map(tuple),
        "exclude": st.lists(st.sampled_from([*IDS, "own"]), max_size=3, unique=True).map(tuple),
    }
)


@given(
    st.sampled_from(["", "c1", "c13", "c20", "c30"]), st.lists(st.sampled_from(IDS), max_size=3, unique=True), WISHES
)  # fmt: skip
def test_every_bundle_of_every_answer_keeps_what_was_asked(customer, basket, wishes):
    models = known()
    slate = ask(models, customer, 4, basket, **wishes)
    around, exclude, size_max = wishes["item_ids"], wishes["exclude"], wishes["size_max"]
    target_price, spend_threshold = wishes["target_price"], wishes["spend_threshold"]
    margin_floor, discount = wishes["margin_floor"], wishes["discount"]
    items = models.items
    paid = round(sum(float(round(items.price[items.idx(name)], 2)) for name in basket), 2)
    for pick in slate.picks:
        held = [items.text(i) for i in pick.bundle.parts]
        assert len(set(held)) == len(held) <= (size_max or 5)
        assert not set(held) & {*basket, *exclude}
        alone = round(sum(float(round(items.price[i], 2)) for i in pick.bundle.parts), 2)
        assert pick.bundle.saving == pytest.approx(alone - pick.bundle.price, abs=0.006)
        if pick.item_idx < 0:
            assert pick.bundle.price == pytest.approx(alone * (1 - (discount or 0.0)), abs=0.006)
            assert pick.item_id == bundle_id_of(held)
        assert target_price is None or pick.bundle.price <= target_price + 1e-6
        assert spend_threshold is None or paid + pick.bundle.price >= spend_threshold - 0.006
        assert margin_floor is None or pick.bundle.margin >= margin_floor - 1e-4
        if around and not pick.stage.startswith("fallback:") and not set(around) & {*basket, *exclude}:
            assert set(around) <= set(held)
    assert len({pick.bundle.parts for pick in slate.picks}) == len(slate.picks)
