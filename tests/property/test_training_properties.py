"""What holds of metrics and splits for any data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US
from tests import worlds
from training.metrics import ItemSets, bootstrap_intervals, judge
from training.settings import TrainingSettings
from training.split import split_dataset

N_ITEMS = 12
items = st.integers(0, N_ITEMS - 1)
rankings = st.lists(items, max_size=6, unique=True)
item_sets = st.sets(items, max_size=8)
purchases = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("uvwxyz"), st.integers(0, 39)), min_size=6, max_size=60
)


@given(st.lists(st.tuples(rankings, item_sets, item_sets), min_size=1, max_size=5))
def test_metrics_stay_in_their_bounds(rows):
    shown = np.full((len(rows), 6), -1, np.int32)
    for row, (ranking, _, _) in enumerate(rows):
        shown[row, : len(ranking)] = ranking
    truth, known = (ItemSets.of([np.array(sorted(r[n]), np.int32) for r in rows], N_ITEMS) for n in (1, 2))
    found = judge(shown, truth, known, np.full(N_ITEMS, 0.25))
    for name, values in found.items():
        there = values[~np.isnan(values)]
        assert (there >= 0).all(), name
        assert (there <= (1 if name != "novelty" else 2) + 1e-12).all(), name
    hit = found["hit_rate"]
    assert ((found["recall"] <= hit) | np.isnan(hit)).all()
    assert ((found["mrr"] <= hit) | np.isnan(hit)).all()


@given(rankings.filter(bool), item_sets.filter(bool))
def test_a_better_place_never_lowers_ndcg(ranking, wanted):
    truth, known = (
        ItemSets.of([np.array(sorted(wanted), np.int32)], N_ITEMS),
        ItemSets.of([np.empty(0, np.int32)], N_ITEMS),
    )
    best_first = sorted(ranking, key=lambda i: i not in wanted)
    as_is, sorted_ = (
        judge(np.array([r], np.int32), truth, known, np.full(N_ITEMS, 0.5))["ndcg"][0] for r in (ranking, best_first)
    )
    assert sorted_ >= as_is - 1e-12


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_the_mean_lies_in_its_interval(values, seed):
    found = bootstrap_intervals({"x": np.array(values)}, np.random.default_rng(seed), 100)["x"]
    assert found.low <= found.mean <= found.high


@pytest.mark.parametrize("protocol", ["time_split", "last_basket", "hold_out"])
@pytest.mark.parametrize("part", ["validation", "test"])
@settings(max_examples=25, deadline=None)
@given(rows=purchases)
def test_truth_is_never_known(protocol, part, rows):
    rows = [*rows, ("a", "u", 1), ("a", "v", 20), ("a", "w", 38), ("a", "x", 30), ("a", "y", 26), ("a", "z", 32)]
    data = worlds.world(rows, as_of=40)
    told = TrainingSettings(protocol=protocol, horizon_days=8, hold_out_share=0.4)
    split = split_dataset(data, told, part)
    known = split.known.product_events
    assert split.cases
    for case in split.cases:
        mine = known.of(case.customer_idx)
        assert set(case.basket) <= set(case.truth)
        assert len(set(case.truth)) == len(case.truth) > 0
        if protocol == "hold_out":
            assert not set(mine.item_idx) & set(case.truth)
        else:
            assert (mine.at < case.at).all()
            assert (case.tail.at < case.basket_at).all()


@settings(max_examples=25, deadline=None)
@given(rows=purchases)
def test_parts_of_a_time_split_do_not_overlap(rows):
    data = worlds.world([*rows, ("a", "u", 1), ("a", "v", 25), ("a", "w", 39)], as_of=40)
    told = TrainingSettings(protocol="time_split", horizon_days=10)
    test, validation = (split_dataset(data, told, part) for part in ("test", "validation"))
    assert validation.known.as_of < test.known.as_of
    assert all(case.basket_at < test.known.as_of for case in validation.cases)
    assert test.known.as_of - validation.known.as_of >= 10 * DAY_US
