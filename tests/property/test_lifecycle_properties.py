"""BG/NBD for whatever customers and parameters: bounds, silence, and the closed form where it is sound."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import hyp2f1

from models.lifecycle.bgnbd import BgNbd, Customers

models = st.builds(
    BgNbd, st.floats(0.02, 50), st.floats(0.2, 2000), st.floats(0.02, 50), st.floats(0.05, 3000), st.booleans()
)
people = st.lists(
    st.tuples(st.integers(0, 400), st.floats(0, 1), st.integers(0, 2000)), min_size=1, max_size=8
)  # fmt: skip


def customers(told) -> Customers:
    x = np.array([float(n) for n, *_ in told])
    age = np.array([float(max(n, age)) for n, _, age in told])
    t_x = np.where(x > 0, age * np.array([share for _, share, _ in told]), 0.0)
    return Customers(x, t_x, age)


@given(model=models, told=people, span=st.sampled_from([7.0, 30.0, 90.0, 365.0]))
def test_probabilities_and_expectations_stay_in_their_bounds(model: BgNbd, told, span: float):
    who = customers(told)
    alive, few, more = model.p_alive(who), model.expected(span, who), model.expected(2 * span, who)
    assert ((alive >= 0) & (alive <= 1)).all()
    assert np.isfinite(model.log_likelihood(who)).all()
    assert (few >= 0).all()
    assert (more >= few * (1 - 1e-9)).all()
    # No more than who never stops would buy.
    assert (few <= (model.r + who.x) / (model.alpha + who.age) * span * (1 + 1e-4)).all()


@given(model=models, told=people, days=st.floats(0.5, 500))
def test_silence_makes_it_less_likely_that_a_customer_still_is_one(model: BgNbd, told, days: float):
    who = customers(told)
    later = Customers(who.x, who.t_x, who.age + days)
    assert (model.p_alive(later) <= model.p_alive(who)).all()


@given(model=models, told=people)
def test_who_bought_today_or_only_once_is_alive(model: BgNbd, told):
    who = customers(told)
    once = BgNbd(model.r, model.alpha, model.a, model.b).p_alive(Customers(np.zeros(len(who)), who.t_x * 0, who.age))
    assert (once == 1).all()
    never_stops = BgNbd(model.r, model.alpha, 1e-300, model.b, dies_at_once=True)
    today = never_stops.p_alive(Customers(who.x, who.age, who.age))
    np.testing.assert_allclose(today, 1)


@given(model=models, told=people, span=st.floats(1, 60))
def test_the_closed_form_is_met_where_it_is_sound(model: BgNbd, told, span: float):
    who = customers(told)
    near = (span < (model.alpha + who.age) / 2) & (abs(model.a - 1) > 1e-3) & (model.a < 5) & (who.x < 50)
    c = model.a + model.b + who.x - 1 + int(model.dies_at_once)
    with np.errstate(all="ignore"):
        kept = hyp2f1(model.a - 1, model.r + who.x, c, -span / (model.alpha + who.age))
        closed = c / (model.a - 1) * (1 - kept) * model.p_alive(who)
    np.testing.assert_allclose(model.expected(span, who)[near], closed[near], rtol=1e-4, atol=1e-12)


@given(model=models, told=people)
def test_each_customer_is_answered_the_same_alone_and_among_others(model: BgNbd, told):
    who = customers(told)
    together = np.stack([model.p_alive(who), model.expected(30, who)])
    alone = [Customers(who.x[i : i + 1], who.t_x[i : i + 1], who.age[i : i + 1]) for i in range(len(who))]
    for place, one in enumerate(alone):
        assert together[:, place].tobytes() == np.stack([model.p_alive(one), model.expected(30, one)]).tobytes()
