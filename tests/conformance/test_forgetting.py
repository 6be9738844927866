"""What a source must forget of an erased customer (`models.seams.Forgetting`), asked of every line of the catalogue."""

from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from features.history import EMPTY
from models.artifact import load_value, save_value
from models.catalogue import PARTS, SOURCES
from models.forgetting import Gone
from models.seams import CandidateSource, Forgetting, ForgettingPart
from tests.newsroom import newsroom
from tests.worlds import query, two_tastes, world

NEIGHBOURS_VOTE = {"userknn", "next_basket"}  # a customer's likes count for those who are like him
WORLD = two_tastes(11)  # 22 customers: no other axis of any model is as long
HERMIT = world(
    [("ann", "a", 1), ("ann", "b", 2), ("bob", "a", 3), ("bob", "c", 4), ("cat", "b", 5), ("cat", "a", 5),
     ("hermit", "cave", 4), ("hermit", "cave", 6)],
    customers=[{"customer_id": "hermit", "attributes": '{"region": "mountain"}'},
               {"customer_id": "ann", "attributes": '{"region": "town"}'}],
)  # fmt: skip


@cache
def fitted(name: str, world_name: str) -> CandidateSource:
    entry, dataset = SOURCES[name], {"tastes": WORLD, "hermit": HERMIT}[world_name]
    return entry.fit(dataset, entry.config(), np.random.default_rng(7))


def forgotten(model: CandidateSource, gone: Gone) -> CandidateSource:
    return model.without(gone) if isinstance(model, Forgetting) else model


def held_of(value: object, customer_idx: int, n_customers: int) -> list[str]:
    """Where a fitted value still holds something of one customer: by the shape of its arrays."""
    found = []
    for field in fields(value):  # type: ignore[arg-type]
        part = getattr(value, field.name)
        if isinstance(part, sp.csr_array):
            row, column = part.shape[0] == n_customers, part.shape[1] == n_customers
            if (row and part[[customer_idx]].nnz) or (column and part[:, [customer_idx]].nnz):
                found.append(field.name)
        elif isinstance(part, np.ndarray):
            if part.ndim and len(part) == n_customers and np.any(part[customer_idx]):
                found.append(field.name)
        elif is_dataclass(part):
            found += [f"{field.name}.{name}" for name in held_of(part, customer_idx, n_customers)]
    return found


def same_answers(one: CandidateSource, other: CandidateSource, asked) -> bool:
    every = np.arange(50, dtype=np.int32)
    ours, theirs = one.candidates(asked, 50), other.candidates(asked, 50)
    return (
        np.array_equal(ours.item_idx, theirs.item_idx)
        and ours.score.tobytes() == theirs.score.tobytes()
        and one.score(asked, every).tobytes() == other.score(asked, every).tobytes()
    )


def test_the_sources_that_hold_something_of_customers_are_these() -> None:
    holding = [n for n in SOURCES if held_of(fitted(n, "tastes"), 3, len(WORLD.customers))]
    assert holding == ["next_basket", "userknn", "als", "hybrid"]
    assert [n for n in SOURCES if isinstance(fitted(n, "tastes"), Forgetting)] == [
        "popular", "next_basket", "userknn", "als", "hybrid",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
class TestForgettingConformance:
    def test_nothing_of_the_erased_customer_is_left(self, name: str) -> None:
        who = WORLD.customers.ids.idx("tea-3")
        after = forgotten(fitted(name, "tastes"), Gone(np.array([who], np.int32)))
        assert held_of(after, who, len(WORLD.customers)) == []

    def test_asked_about_the_erased_customer_it_answers_as_for_a_stranger(self, name: str) -> None:
        who = WORLD.customers.ids.idx("tea-3")
        after = forgotten(fitted(name, "tastes"), Gone(np.array([who], np.int32)))
        stranger = query(WORLD)
        assert same_answers(after, after, stranger)
        found = after.candidates(replace(stranger, customer_idx=who, history=EMPTY), 50)
        assert np.array_equal(found.item_idx, after.candidates(stranger, 50).item_idx)

    def test_everybody_else_is_answered_as_before_to_the_bit(self, name: str) -> None:
        dataset, world_name, erased = (HERMIT, "hermit", "hermit") if name in NEIGHBOURS_VOTE else (
            WORLD, "tastes", "tea-3",
        )  # fmt: skip
        before = fitted(name, world_name)
        after = forgotten(before, Gone(np.array([dataset.customers.ids.idx(erased)], np.int32)))
        for who in dataset.customers.ids.texts:
            if who != erased:
                assert same_answers(before, after, query(dataset, who))
        assert same_answers(before, after, query(dataset))
        assert same_answers(before, after, query(dataset, seeds=[dataset.products.ids.text(0)]))

    def test_what_was_forgotten_is_saved_and_read_back(self, name: str, tmp_path: Path) -> None:
        after = forgotten(fitted(name, "tastes"), Gone(np.array([2], np.int32)))
        save_value(after, tmp_path / "model")
        again = load_value(SOURCES[name].model, tmp_path / "model")
        for who in WORLD.customers.ids.texts:
            assert same_answers(after, again, query(WORLD, who))


@pytest.mark.parametrize("name", PARTS)
def test_no_part_beside_the_sources_keeps_anything_of_an_erased_customer(name: str) -> None:
    dataset, entry = newsroom(), PARTS[name]
    part = entry.fit(dataset, {}, entry.config(), np.random.default_rng(7))
    who = dataset.customers.ids.idx("tea-fan-03")
    after = part.without(Gone(np.array([who], np.int32))) if isinstance(part, ForgettingPart) else part
    assert held_of(after, who, len(dataset.customers)) == []


def test_the_part_of_contents_holds_something_of_customers_and_forgets_it() -> None:
    part = PARTS["contents"].fit(newsroom(), {}, PARTS["contents"].config(), np.random.default_rng(7))
    assert isinstance(part, ForgettingPart)
    assert held_of(part, 3, len(newsroom().customers)) == ["taste.group_of"]


@pytest.mark.parametrize("name", sorted(NEIGHBOURS_VOTE))
def test_a_neighbour_who_is_gone_votes_no_more(name: str) -> None:
    dataset = world(
        [("ann", "a", 1), ("bob", "a", 2), ("bob", "b", 3), ("cat", "z", 3)],
        products=[{"product_id": p} for p in "abz"],
    )
    entry = SOURCES[name]
    model = entry.fit(dataset, entry.config(), np.random.default_rng(7))
    b = dataset.products.ids.idx("b")
    assert b in model.candidates(query(dataset, "ann"), 10).item_idx
    after = forgotten(model, Gone(np.array([dataset.customers.ids.idx("bob")], np.int32)))
    assert b not in after.candidates(query(dataset, "ann"), 10).item_idx


def test_attributes_that_nobody_else_has_are_forgotten_with_their_customer() -> None:
    gone = Gone(
        np.array([HERMIT.customers.ids.idx("hermit")], np.int32), frozenset({("region", "mountain")})
    )  # fmt: skip
    hybrid = fitted("hybrid", "hermit")
    assert "region=mountain" in hybrid.names
    assert "region=mountain" not in forgotten(hybrid, gone).names
    entry = SOURCES["popular"]
    popular = entry.fit(HERMIT, entry.config(segment_attribute="region"), np.random.default_rng(7))
    after = forgotten(popular, gone)
    assert popular.segments == ("*", "mountain", "town")
    assert after.segments == ("*", "town")
    assert same_answers(popular, after, query(HERMIT, "ann", attributes={"region": "town"}))


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_knows_nothing_forgets_as_well(name: str) -> None:
    """Somebody is erased in a shop without contents or bundles, or from a release made before there were parts."""
    part = PARTS[name].empty()
    gone = Gone(np.array([2], np.int32))
    after = part.without(gone) if isinstance(part, ForgettingPart) else part
    assert held_of(after, 2, 3) == held_of(part, 2, 3) == []
