"""The pulse of contents: what it counts hangs neither on the order in which it is told nor on how many at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contents.pulse import DAY, HALF_LIVES_HOURS, HOUR_US, Pulse, Readings

N, GROUPS = 4, 3
T0 = 1_735_660_800_000_000
ROW = st.tuples(st.integers(0, N - 1), st.integers(0, 90 * 24 * 60), st.integers(0, GROUPS))
ROWS = st.lists(ROW, max_size=30)
EVERY = np.arange(N, dtype=np.int32)


def told(rows):
    content_idx, minute, group = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    return Readings(content_idx.astype(np.int32), T0 + minute * 60_000_000, group.astype(np.int32))


def pulse_of(*parts):
    pulse = Pulse.silent(N, GROUPS)
    for rows in parts:
        pulse.take(told(rows))
    return pulse


def same(one, other):
    at = T0 + 100 * 24 * HOUR_US
    assert np.allclose(one.counts(EVERY, at), other.counts(EVERY, at), rtol=1e-9, atol=1e-300)
    assert np.allclose(one.all_counts(at), other.all_counts(at), rtol=1e-9, atol=1e-300)
    for name in ("latest", "first", "groups"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 30), order=st.randoms())
def test_order_and_company_do_not_matter(rows, cut, order):
    shuffled = list(rows)
    order.shuffle(shuffled)
    same(pulse_of(rows), pulse_of(shuffled[:cut], shuffled[cut:]))
    same(pulse_of(rows), pulse_of(*([row] for row in shuffled)))


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, after=st.integers(0, 5 * 24 * 60))
def test_counts_are_the_sum_of_what_is_left_of_each_reading(rows, after):
    at = T0 + (90 * 24 * 60 + after) * 60_000_000
    pulse = pulse_of(rows)
    for content in range(N):
        hours = [(at - T0) / HOUR_US - minute / 60 for which, minute, _ in rows if which == content]
        wanted = [sum(0.5 ** (h / life) for h in hours) for life in HALF_LIVES_HOURS]
        assert pulse.counts(EVERY, at)[content] == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    assert pulse.day_counts(EVERY, at) == pytest.approx(pulse.counts(EVERY, at)[:, DAY])
    assert pulse.all_counts(at) == pytest.approx(pulse.counts(EVERY, at).sum(axis=0), rel=1e-6, abs=1e-12)


def test_a_reading_of_a_day_ago_counts_half():
    pulse = pulse_of([(2, 0, 1)])
    assert pulse.counts(EVERY, T0 + 24 * HOUR_US)[2, DAY] == pytest.approx(0.5)
    assert pulse.groups[2].tolist() == [0, 1, 0, 0]


def test_a_group_that_is_not_known_counts_as_nobodys():
    pulse = Pulse.silent(N, 1)
    pulse.take(told([(0, 1, 3)]))
    assert pulse.groups[0].tolist() == [1, 0]
