"""BG/NBD against the numbers its authors published, and on worlds whose customers were drawn from known parameters."""

import os
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.lifecycle.bgnbd import LEAST_REPEATERS, BgNbd, Customers, fit_bgnbd

SHARED = Path(os.environ.get("POND_SHARED", Path(__file__).parents[4] / "shared"))
WEEK = 7.0


def cdnow(until: date) -> tuple[pl.DataFrame, Customers, np.ndarray]:
    """CDNOW's sample: its purchase days, its customers in weeks until a day, and their purchase days after it."""
    path = SHARED / "data" / "repurchase" / "cdnow.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there: set POND_SHARED to the folder with data/")
    days = pl.read_csv(path, try_parse_dates=True).select("Id", "Date").unique().sort("Id", "Date")
    known = days.filter(pl.col("Date") <= until).group_by("Id", maintain_order=True)
    rows = known.agg(n=pl.len(), first=pl.col("Date").min(), last=pl.col("Date").max())
    weeks = (
        rows.with_columns(
            t_x=(pl.col("last") - pl.col("first")).dt.total_days() / WEEK,
            age=(pl.lit(until) - pl.col("first")).dt.total_days() / WEEK,
        )
    )  # fmt: skip
    later = days.filter(pl.col("Date") > until).group_by("Id").agg(later=pl.len())
    came = weeks.join(later, on="Id", how="left", maintain_order="left")["later"].fill_null(0).to_numpy()
    who = Customers(*(weeks[name].to_numpy().astype(np.float64) for name in ("n", "t_x", "age")))
    return weeks, Customers(who.x - 1, who.t_x, who.age), came


def drawn(model: BgNbd, n: int, age: float, seed: int, span: float = 0.0) -> tuple[Customers, np.ndarray]:
    """Customers who live by a model, each observed for `age`, and how often each buys in the `span` after."""
    rng = np.random.default_rng(seed)
    rate, stop = rng.gamma(model.r, 1 / model.alpha, n), rng.beta(model.a, model.b, n)
    x, last, later = np.zeros(n), np.zeros(n), np.zeros(n)
    for who in range(n):
        at, alive = 0.0, not (model.dies_at_once and rng.random() < stop[who])
        while alive and (at := at + rng.exponential(1 / rate[who])) <= age + span:
            if at <= age:
                x[who], last[who] = x[who] + 1, at
            else:
                later[who] += 1
            alive = rng.random() >= stop[who]
    return Customers(x, last, np.full(n, age)), later


@pytest.mark.shared
def test_the_published_parameters_of_cdnow_are_found():
    _, who, came = cdnow(date(1997, 9, 30))
    found = fit_bgnbd(who, 5.0)
    model = found.model
    assert [round(value, 3) for value in (model.r, model.alpha, model.a, model.b)] == [0.243, 4.414, 0.793, 2.426]
    assert round(found.log_likelihood, 1) == -9582.4
    assert not found.with_prior
    expected = model.expected(39.0, who)
    assert expected.sum() == pytest.approx(1653, abs=1)  # 1,882 came
    assert np.corrcoef(expected, came)[0, 1] == pytest.approx(0.626, abs=0.002)


@pytest.mark.shared
def test_days_tell_the_same_as_weeks():
    _, weeks, _ = cdnow(date(1997, 9, 30))
    days = Customers(weeks.x, weeks.t_x * WEEK, weeks.age * WEEK)
    by_week, by_day = fit_bgnbd(weeks, 5.0, dies_at_once=True).model, fit_bgnbd(days, 35.0, dies_at_once=True).model
    assert by_day.alpha == pytest.approx(WEEK * by_week.alpha, rel=1e-3)
    assert by_week.r == pytest.approx(0.525, abs=0.001)
    np.testing.assert_allclose(by_day.expected(91, days), by_week.expected(13, weeks), rtol=1e-3)


@pytest.mark.parametrize("dies_at_once", [False, True])
def test_known_parameters_are_found_again(dies_at_once):
    true = BgNbd(0.8, 20.0, 0.7, 3.0, dies_at_once)
    who, _ = drawn(true, 6000, 300.0, seed=3)
    found = fit_bgnbd(who, 25.0, dies_at_once=dies_at_once).model
    # Four standard errors at this size; a and b are known by their ratio better than each alone.
    assert found.r == pytest.approx(true.r, rel=0.15)
    assert found.alpha == pytest.approx(true.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(true.a / (true.a + true.b), rel=0.15)


@pytest.mark.parametrize("dies_at_once", [False, True])
def test_as_many_purchases_come_as_were_expected(dies_at_once):
    model = BgNbd(0.8, 20.0, 0.7, 3.0, dies_at_once)
    who, later = drawn(model, 8000, 200.0, seed=5, span=90.0)
    expected = model.expected(90.0, who)
    error = later.std() / np.sqrt(len(later))
    assert abs(expected.mean() - later.mean()) < 4 * error
    # Among those of whom it expects much and of whom it expects little alike.
    for some in (expected > np.median(expected), expected <= np.median(expected)):
        assert abs(expected[some].mean() - later[some].mean()) < 4 * later[some].std() / np.sqrt(some.sum())


def test_a_shop_of_one_time_buyers_gets_modest_expectations():
    who = Customers(np.zeros(300), np.zeros(300), np.full(300, 200.0))
    found = fit_bgnbd(who, 30.0, dies_at_once=True)
    assert found.with_prior
    assert found.model.expected(90, who).max() < 0.2


def test_nobody_and_everything_at_one_moment_are_answered_by_the_prior():
    nobody = fit_bgnbd(Customers(np.empty(0), np.empty(0), np.empty(0)), 30.0)
    assert nobody.with_prior
    now = Customers(np.zeros(9), np.zeros(9), np.zeros(9))
    found = fit_bgnbd(now, 30.0, dies_at_once=True)
    assert found.with_prior
    assert np.isfinite(found.model.expected(30, now)).all()
    assert found.model.r / found.model.alpha == pytest.approx(1 / 30, rel=0.3)


def test_a_few_loyal_customers_do_not_make_a_law():
    few = LEAST_REPEATERS // 5
    who = Customers(np.full(few, 20.0), np.full(few, 100.0), np.full(few, 101.0))
    found = fit_bgnbd(who, 5.0, dies_at_once=True)
    assert found.with_prior
    assert 2 < found.model.expected(30, who).mean() < 8  # they bought six times in 30 days
