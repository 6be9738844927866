"""Audiences and groups: a budget is never exceeded, a holdout is a fair share, nobody alone explains what is shown."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.audience.selection import Budget, Cap, Member, Rules, Selection, is_held_out
from models.groups.tastes import HOLDS, LEAST_SUPPORT, Tastes, fair_order

money = st.floats(0, 1e6)
rules = st.builds(
    Rules, st.builds(Budget, st.integers(0, 30) | st.none(), money | st.none(), st.floats(0.001, 1e4)),
    st.floats(0, 1), st.just((Cap("region", 3),)) | st.just(()), st.floats(0, 0.9), st.text(max_size=5),
)  # fmt: skip
members = st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1)), max_size=60)
lists = st.lists(st.lists(st.integers(0, 12), unique=True, max_size=8), min_size=1, max_size=12)


@given(rules, members)
def test_budget_caps_and_parts_hold(rules, members):
    made = Selection(rules)
    for who, p in members:
        made.offer(Member(who, f"c{who}", p), {"region": str(who % 4)})
    budget = rules.budget
    if budget.customers is not None:
        assert len(made.listed) <= budget.customers
    if budget.money is not None:
        assert len(made.listed) * budget.cost <= budget.money * (1 + 1e-6) + 1e-6 * budget.cost
    both = [*made.listed, *made.held_out]
    assert len({one.customer_id for one in both}) == len(both)
    assert all(one.probability >= rules.least_probability for one in both)
    if rules.caps:
        regions = [one.customer_idx % 4 for one in both]
        assert max((regions.count(r) for r in set(regions)), default=0) <= 3


@given(st.floats(0.05, 0.9), st.text(max_size=8))
def test_holdout_is_a_fair_and_lasting_share(share, seed):
    ids = [f"customer-{n}" for n in range(2_000)]
    held = [is_held_out(one, share, seed) for one in ids]
    # Five standard deviations of a fair draw: a false alarm in two million seeds.
    assert abs(np.mean(held) - share) < 5 * np.sqrt(share * (1 - share) / len(ids))
    assert held == [is_held_out(one, share, seed) for one in ids]
    more = [is_held_out(one, min(share + 0.1, 1.0), seed) for one in ids]
    assert all(later for now, later in zip(held, more, strict=True) if now)


@given(lists)
def test_what_is_shared_holds_when_any_one_member_is_left_out(lists):
    tastes = Tastes.of([np.array(one, np.int32) for one in lists], depth=8)
    shared = tastes.of_items(tastes.is_shared)
    for out in range(shared.n_members):
        rest = np.delete(shared.points, out, axis=0)
        assert ((rest > 0).sum(axis=0) >= LEAST_SUPPORT - 1).all()
        if len(rest):
            assert (rest.mean(axis=0) >= HOLDS * shared.points.mean(axis=0) - 1e-6).all()


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 10)), elements=st.floats(0, 1, width=32)),
    st.floats(0, 1),
)
def test_fair_list_holds_each_product_once_whatever_the_fairness(points, fairness):
    tastes = Tastes(np.arange(points.shape[1], dtype=np.int32), points)
    order = fair_order(tastes, fairness, points.shape[1])
    assert sorted(order.tolist()) == list(range(points.shape[1]))
    assert fair_order(tastes, fairness, 3).tolist() == order[:3].tolist()


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 10)), elements=st.floats(0, 1, width=32)))
def test_average_is_never_beaten_in_the_mean(points):
    tastes = Tastes(np.arange(points.shape[1], dtype=np.int32), points)
    mean = points.astype(np.float64).mean(axis=0)
    average, fair = (mean[fair_order(tastes, f, 3)].sum() for f in (0.0, 1.0))
    assert average >= fair - 1e-4
