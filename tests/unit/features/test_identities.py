"""The ids of one person are one customer."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import build_dataset
from features.history import joined
from features.identities import flattened
from tests import worlds

NAMES = st.sampled_from("abcdef")


def test_chains_end_at_the_canonical_id_and_what_was_said_first_holds():
    assert flattened([("a", "b"), ("b", "c")]) == {"a": "c", "b": "c"}
    assert flattened([("b", "c"), ("a", "b")]) == {"a": "c", "b": "c"}
    assert flattened([("a", "b"), ("a", "c")]) == {"a": "b"}
    assert flattened([("a", "b"), ("b", "a"), ("a", "a")]) == {"a": "b"}


@given(st.lists(st.tuples(NAMES, NAMES)))
def test_every_chain_ends_and_saying_it_again_changes_nothing(links):
    of = flattened(links)
    assert not set(of) & set(of.values())
    assert flattened(links + links) == of
    assert flattened(list(of.items())) == of
    assert of == as_said(links)


def as_said(links):
    """The same by walking, link by link."""
    of = {}
    for other, customer in links:
        end = customer
        while end in of:
            end = of[end]
        if other not in of and end != other:
            of[other] = customer
    ends = {}
    for other in of:
        end = other
        while end in of:
            end = of[end]
        ends[other] = end
    return ends


ROWS = [
    ("ann", "tea", 1, "purchase", "o1"),
    ("phone", "milk", 2, "purchase", "o9"),
    ("ann", "rice", 3),
    ("x", "tea", 4),
    ("phone", "tea", 3),
    ("card", "salt", 0),
]
LINKS = [
    {"id_type": "phone", "id_value": "phone", "customer_id": "ann"},
    {"id_type": "customer", "id_value": "card", "customer_id": "phone"},
]


def test_a_dataset_has_one_customer_with_all_histories_in_the_order_of_time_and_event_id():
    dataset = worlds.world(ROWS, identities=LINKS)
    assert dataset.customers.ids.texts == ("ann", "x")
    history = dataset.product_events.of(0)
    texts = [dataset.products.ids.text(i) for i in history.item_idx]
    assert texts == ["salt", "tea", "milk", "rice", "tea"]  # of day 3: event 2 before event 4
    assert list(history.order_idx) == [0, 1, 2, 3, 3]
    assert dataset.digest == worlds.world(ROWS[::1], identities=LINKS).digest != worlds.world(ROWS).digest


def test_the_profile_under_the_canonical_id_goes_before_those_of_other_ids():
    profiles = [
        {"customer_id": "ann", "attributes": '{"tier":"gold"}'},
        {"customer_id": "phone", "attributes": '{"tier":"new"}', "valid_from": worlds.day(3)},
        {"customer_id": "x2", "attributes": '{"tier":"x"}'},
    ]
    links = [*LINKS, {"id_type": "p", "id_value": "x2", "customer_id": "x"}]
    dataset = worlds.world(ROWS, customers=profiles, identities=links)
    assert dataset.customers.frame["attributes"].to_list() == ['{"tier":"gold"}', '{"tier":"x"}']


def test_histories_joined_after_training_are_those_a_training_joins():
    apart, one = worlds.world(ROWS), worlds.world(ROWS, identities=LINKS)
    ids = [apart.customers.ids.idx(name) for name in ("ann", "card", "phone")]
    made, wanted = joined([apart.product_events.of(i) for i in ids]), one.product_events.of(0)
    assert [apart.products.ids.text(i) for i in made.item_idx] == [one.products.ids.text(i) for i in wanted.item_idx]
    assert list(made.at) == list(wanted.at)
    # Baskets of one day that were told under two ids stay two until a training looks at them.
    assert list(made.order_idx) == [0, 1, 2, 3, 4]
    assert all(a <= b for a, b in pairwise(made.order_idx))


def test_joining_nothing_is_nothing_and_one_is_itself():
    alone = worlds.world(ROWS).product_events.of(0)
    assert joined([alone]) is alone
    assert len(joined([])) == 0
    assert np.array_equal(joined([alone, alone.where(slice(0, 0))]).order_idx, alone.order_idx)


def test_no_identities_cost_nothing_and_change_nothing():
    frames = {"events": worlds.events(ROWS)}
    plain = build_dataset(worlds.ToyTables(frames), "toy", worlds.TIMEZONE)
    assert plain.digest == worlds.world(ROWS, identities=[]).digest
