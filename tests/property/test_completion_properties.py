"""What lessons of bundles and baskets may not know, and what may not matter, for any shop that chance makes."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from models.bundles.lessons import Pairs, hidden_pairs
from models.bundles.signals import SIGNALS as BUNDLE_SIGNALS
from models.bundles.signals import Shopper, SignalConfig, find_parts, fit_signals, no_bundles, signal_matrix
from models.completion.signals import Companions, Question, Signals, bundle_matrix
from models.completion.wording import Wording, WordingConfig
from tests import worlds

N_ITEMS = 8
BUNDLES = st.lists(st.sets(st.integers(0, N_ITEMS - 1), min_size=1, max_size=4), min_size=1, max_size=8)
KINDS = st.lists(st.integers(-1, 3), min_size=N_ITEMS, max_size=N_ITEMS)
WORDS = ("red", "blue", "lamp", "shade", "mk2", "mk3")
EVERY = np.arange(N_ITEMS, dtype=np.int32)


def wording():
    titles = [f"{WORDS[i % 6]} {WORDS[(i * 5 + 1) % 6]}" for i in range(N_ITEMS)]
    frame = worlds.rows_of("products", [{"product_id": str(i), "title": text} for i, text in enumerate(titles)])
    return Wording.fit(frame, WordingConfig(), np.random.default_rng(0))


TITLES = wording()


def companions(bundles, kind):
    parts = bundle_matrix([np.array(sorted(held), np.int32) for held in bundles], N_ITEMS)
    walk = sp.csr_array((N_ITEMS, N_ITEMS), dtype=np.float32)
    return Companions(walk, np.zeros(N_ITEMS, np.float32), parts, np.array(kind, np.int32), 4)


@given(BUNDLES, KINDS, st.sets(st.integers(0, N_ITEMS - 1), min_size=1, max_size=3), st.data())
def test_what_is_left_out_says_as_little_as_if_it_had_never_been(bundles, kind, seeds, data):
    gone = data.draw(st.sets(st.integers(0, len(bundles) - 1)))
    start = np.array(sorted(seeds), np.int32)
    hidden = Question(start, left_out=np.array(sorted(gone), np.int32))
    asked = Signals.of(hidden, TITLES, companions(bundles, kind))
    kept = [held for number, held in enumerate(bundles) if number not in gone]
    never = Signals.of(Question(start), TITLES, companions(kept, kind))
    np.testing.assert_allclose(asked.matrix(EVERY), never.matrix(EVERY), atol=1e-5)
    assert asked.candidates(5).tolist() == never.candidates(5).tolist()


@given(BUNDLES, KINDS, st.permutations(range(4)))
def test_the_order_of_a_basket_does_not_matter(bundles, kind, order):
    known = companions(bundles, kind)
    one, other = (
        Signals.of(Question(np.array(seeds, np.int32)), TITLES, known).matrix(EVERY) for seeds in (range(4), order)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


@given(BUNDLES, KINDS, st.lists(st.sets(st.integers(0, N_ITEMS - 1), min_size=1, max_size=3), min_size=1, max_size=4))
def test_questions_looked_at_together_are_described_as_each_alone(bundles, kind, baskets):
    known = companions(bundles, kind)
    questions = [Question(np.array(sorted(seeds), np.int32)) for seeds in baskets]
    for question, together in zip(questions, Signals.of_all(questions, TITLES, known), strict=True):
        alone = Signals.of(question, TITLES, known)
        np.testing.assert_allclose(together.matrix(EVERY), alone.matrix(EVERY), atol=1e-5)


@given(BUNDLES, KINDS)
def test_what_is_in_the_basket_never_comes_into_question(bundles, kind):
    question = Question(np.array([1, 4, 6], np.int32))
    found = Signals.of(question, TITLES, companions(bundles, kind)).candidates(5)
    assert not {1, 4, 6} & set(found.tolist())
    assert (np.diff(found) > 0).all()


@st.composite
def pairs(draw):
    held = sorted(draw(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=40)))
    at = draw(st.lists(st.integers(0, 5), min_size=len(held), max_size=len(held)))
    who, what = np.array(held, np.int32).T
    return Pairs(who, what, np.array(at, np.int64), np.ones(len(held), np.float32), (10, 6))


@given(pairs(), st.floats(0.01, 0.99), st.integers(0, 99))
def test_every_customer_loses_some_bundle_and_never_an_earlier_one_first(known, share, seed):
    hidden = hidden_pairs(known, share, np.random.default_rng(seed))
    for who in np.unique(known.customer_idx):
        own = known.customer_idx == who
        assert 1 <= hidden[own].sum() <= own.sum()
        if not hidden[own].all():
            assert known.at[own & hidden].min() >= known.at[own & ~hidden].max()


@given(pairs(), st.sets(st.integers(0, 5), max_size=3), st.sets(st.integers(0, N_ITEMS - 1), max_size=3))
def test_a_bundle_that_came_later_is_judged_by_its_parts_as_an_unsold_one_is(known, has, wants):
    """The parts of the last bundle again, as one made after training: nobody had bought either."""
    config = SignalConfig(dim=2)
    held = [np.array([b, (b + 2) % N_ITEMS], np.int32) for b in range(6)] + [np.array([0, 7], np.int32)]
    wide = Pairs(known.customer_idx, known.bundle_idx, known.at, known.weight, (10, 7))
    products = sp.csr_array(np.eye(10, N_ITEMS, dtype=np.float32))
    parts = find_parts(held, products, config, np.random.default_rng(0))
    signals = fit_signals(parts, wide.matrix, products, wide.sold, config)
    shopper = Shopper(np.array(sorted(has), np.int32), np.array(sorted(wants), np.int32))
    matrix = signal_matrix(shopper, signals, parts.weighed([held[-1]]), 0.3)
    alike = [BUNDLE_SIGNALS.index(name) for name in BUNDLE_SIGNALS if not name.startswith(("rank_", "like_weight"))]
    np.testing.assert_allclose(matrix[6, alike], matrix[7, alike], atol=1e-5)
    assert len(signal_matrix(shopper, signals, no_bundles(N_ITEMS), 0.3)) == 7
