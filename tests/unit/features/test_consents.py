"""What a customer's words allow, and whom a dataset leaves out because of them."""

import pytest

from features.consents import Refusals, Word, is_personal, later, may_touch, refusals
from tests import worlds

ON, OFF = "on", "off"


def words(**said):
    """`sms=(1, ON)` is a word on one channel of marketing, `every=…` on all of them."""
    return {("marketing", "" if name == "every" else name): Word(at, state) for name, (at, state) in said.items()}


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        (words(), False),  # nothing said: no message
        (words(sms=(1, ON)), True),
        (words(sms=(1, OFF)), False),
        (words(push=(1, ON)), False),  # another channel's word
        (words(every=(1, ON)), True),
        (words(every=(1, OFF)), False),
        (words(every=(1, ON), sms=(2, OFF)), False),
        (words(every=(2, ON), sms=(1, OFF)), False),  # yes to all does not lift the no to one
        (words(every=(2, OFF), sms=(1, ON)), False),  # no to all, said afterwards, means this one too
        (words(every=(1, OFF), sms=(2, ON)), True),  # yes to one, said afterwards, is meant
        (words(every=(1, OFF), sms=(1, ON)), False),  # at the same moment the stricter holds
    ],
)
def test_a_message_needs_a_yes_that_still_holds(said, allowed):
    assert may_touch(said, "marketing", "sms") is allowed
    assert may_touch(said, "service", "sms") is False


def test_personalization_is_on_until_it_is_refused():
    assert is_personal({})
    assert is_personal({("marketing", ""): Word(1, OFF)})
    assert not is_personal({("personalization", ""): Word(1, OFF)})


def test_the_later_word_holds_and_of_two_at_once_the_stricter():
    assert later(Word(1, OFF), Word(2, ON)) == Word(2, ON)
    assert later(Word(2, ON), Word(2, OFF)) == later(Word(2, OFF), Word(2, ON)) == Word(2, OFF)


def said(customer, at, state, purpose="personalization"):
    return {"customer_id": customer, "purpose": purpose, "at": worlds.day(at), "state": state}


def test_whose_last_word_is_no_is_in_no_dataset_whenever_it_was_said():
    rows = [(who, "tea", 1) for who in ("after", "tie", "again", "other", "none")]
    consents = [
        said("after", 9, OFF),  # after everything that happened: there is no moment to be before
        said("tie", 1, ON), said("tie", 1, OFF),
        said("again", 1, OFF), said("again", 2, ON),
        said("other", 1, OFF, "marketing"),
    ]  # fmt: skip
    for order in (consents, consents[::-1]):
        dataset = worlds.world(rows, consents=order)
        assert dataset.customers.ids.texts == ("again", "none", "other")
        assert dict(dataset.refused) == {"after": worlds.day(9), "tie": worlds.day(1)}


def test_a_training_that_looks_back_obeys_who_refused_since():
    rows = [("ann", "tea", 1), ("bob", "tea", 1)]
    tables = {"events": worlds.events(rows), "consents": worlds.rows_of("consents", [said("ann", 3, OFF)])}
    build = lambda **more: worlds.build_dataset(  # noqa: E731
        worlds.ToyTables(tables), "toy", worlds.TIMEZONE, worlds.day(2), **more
    )
    assert build().customers.ids.texts == ("ann", "bob")
    assert build(obeys_later_words=True).customers.ids.texts == ("bob",)


def test_a_refusal_under_any_id_of_a_person_counts():
    tables = {
        "consents": worlds.rows_of("consents", [said("phone", 2, OFF), said("ann", 1, ON), said("bob", 1, OFF)]),
        "identities": worlds.rows_of("identities", [{"id_type": "p", "id_value": "phone", "customer_id": "ann"}]),
    }
    assert refusals(worlds.ToyTables(tables)).rows() == [("ann", worlds.day(2)), ("bob", worlds.day(1))]


def test_a_release_can_be_asked_who_refused_and_when():
    kept = Refusals.of({"顾客": 5, "ann": 3})
    assert (kept.at_of("ann"), kept.at_of("顾客"), kept.at_of("bob")) == (3, 5, None)
    assert Refusals.of({}).at_of("ann") is None


def test_popularity_counts_nobody_who_refused():
    rows = [(f"c{n}", "tea", 1) for n in range(3)] + [("one", "milk", 1)]
    consents = [said(f"c{n}", 1, OFF) for n in range(3)]
    dataset = worlds.world(rows, consents=consents)
    assert (dataset.products.ids.texts, dataset.counts["purchases"]) == (("milk",), 1)
