"""Metrics whose expectation can be worked out on paper."""

import numpy as np
import pytest

from training.metrics import ItemSets, Reach, bootstrap_intervals, coverage, judge, mean_reach, means, measure_reach

N_ITEMS = 10


def sets(*rows):
    return ItemSets.of([np.array(row, np.int32) for row in rows], N_ITEMS)


def judged(shown, truth, known=(), share=None):
    share = np.full(N_ITEMS, 0.5) if share is None else share
    found = judge(np.array([shown], np.int32), sets(truth), sets(known), share)
    return {name: value[0] for name, value in found.items()}


def test_two_hits_of_four_wanted_at_places_one_and_three():
    found = judged([7, 1, 2, 3], truth=[7, 2, 8, 9])
    assert found["recall"] == 2 / 4
    assert found["hit_rate"] == 1
    assert found["mrr"] == 1
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4) + 1 / np.log2(5)
    assert found["ndcg"] == pytest.approx((1 + 1 / np.log2(4)) / ideal)


def test_the_ideal_holds_no_more_hits_than_there_are_places():
    assert judged([1, 2], truth=[1, 2, 3, 4, 5])["ndcg"] == pytest.approx(1)


def test_first_hit_at_place_three_gives_a_third():
    assert judged([1, 2, 3], truth=[3])["mrr"] == pytest.approx(1 / 3)


def test_nothing_found_is_zero_and_nothing_wanted_says_nothing():
    assert judged([1, 2], truth=[3])["recall"] == 0
    nothing = judged([1, 2], truth=[])
    assert all(np.isnan(nothing[name]) for name in ("recall", "ndcg", "hit_rate", "mrr"))


def test_repeat_and_explore_share_the_truth_between_them():
    found = judged([1, 2, 3, 4], truth=[1, 2, 3, 9], known=[1, 4, 9])
    assert found["recall_repeat"] == 1 / 2  # wanted again: 1 and 9; 1 was shown
    assert found["recall_explore"] == 1  # new: 2 and 3, both shown
    assert found["repeat_share"] == 2 / 4


def test_empty_places_are_no_items():
    found = judged([1, -1, -1], truth=[1], known=[1])
    assert found["repeat_share"] == 1
    assert found["recall"] == 1


def test_novelty_is_bits_of_surprise_and_popularity_the_share_of_buyers():
    share = np.full(N_ITEMS, 0.5)
    share[3] = 0.125
    found = judged([1, 3], truth=[1], share=share)
    assert found["novelty"] == pytest.approx((1 + 3) / 2)
    assert found["popularity"] == pytest.approx((0.5 + 0.125) / 2)


def test_coverage_counts_each_item_once():
    assert coverage(np.array([[1, 2], [2, -1]], np.int32), 8) == 2 / 8
    assert coverage(np.empty((0, 2), np.int32), 0) == 0


def test_means_leave_out_who_says_nothing():
    assert means({"a": np.array([1.0, np.nan, 3.0]), "b": np.array([np.nan])}) == {"a": 2.0, "b": 0.0}


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    """200 intervals of 95 %: fewer than 170 covering has a chance below 1e-6."""
    rng = np.random.default_rng(0)
    samples = {str(n): row for n, row in enumerate(rng.normal(1.0, 1.0, (200, 100)))}
    found = [bootstrap_intervals({name: row}, rng, 300)[name] for name, row in samples.items()]
    covered = sum(i.low <= 1.0 <= i.high for i in found)
    assert 170 <= covered <= 200


def test_paired_interval_sees_a_small_steady_difference():
    rng = np.random.default_rng(1)
    mood = rng.normal(0, 5, 300)
    better, worse = mood + 0.2 + rng.normal(0, 0.1, 300), mood
    assert bootstrap_intervals({"d": better - worse}, rng, 500)["d"].low > 0
    apart = bootstrap_intervals({"a": better, "b": worse}, rng, 500)
    assert apart["a"].low < apart["b"].high


def test_same_seed_gives_the_same_interval():
    values = {"x": np.arange(50.0), "y": np.where(np.arange(50) % 2, np.nan, 1.0)}
    once, again = (bootstrap_intervals(values, np.random.default_rng(3), 200) for _ in range(2))
    assert once == again
    assert once["y"].n == 25
    assert (once["y"].low, once["y"].high) == (1.0, 1.0)


def test_no_customers_give_an_empty_interval():
    assert bootstrap_intervals({"x": np.empty(0)}, np.random.default_rng(0), 100)["x"].n == 0


def test_reach_tells_what_each_source_finds_and_what_only_it_finds():
    found = {"one": np.array([1, 2, 7], np.int32), "two": np.array([2, 3], np.int32), "none": np.array([8], np.int32)}
    reach = measure_reach(found, np.array([1, 2, 3, 4], np.int32))
    assert reach.alone == {"one": 0.5, "two": 0.5, "none": 0.0}
    assert reach.together == 0.75
    assert reach.added == {"one": 0.25, "two": 0.25, "none": 0.0}


def test_reach_is_averaged_over_customers():
    two = [
        Reach(alone={"a": 1.0}, together=1.0, added={"a": 0.5}),
        Reach(alone={"a": 0.0}, together=0.5, added={"a": 0.0}),
    ]
    assert mean_reach(two) == Reach(alone={"a": 0.5}, together=0.75, added={"a": 0.25})
    assert mean_reach([]) == Reach()
