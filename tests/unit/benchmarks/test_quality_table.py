"""The benchmark's own arithmetic: baselines, per-customer figures, intervals and the merged table."""

import json
import math

import numpy as np
import polars as pl
import pytest

from benchmarks.quality import baselines
from benchmarks.quality.measure import Run
from benchmarks.quality.scores import checked_scores, customer_scores, paired_intervals
from benchmarks.quality.table import Row, record


@pytest.fixture
def baskets(tmp_path):
    lines = [("a", "a0", "7"), ("a", "a1", "7"), ("a", "a0", "3"), ("a", "a0", "1"), ("b", "b0", "1"), ("c", "c0", "1"),
             ("c", "c0", "9"), ("b", "b0", "9"), ("b", "b0", "9")]  # fmt: skip
    frame = pl.DataFrame(lines, ["customer_id", "order_id", "item_id"], orient="row")
    frame.write_parquet(tmp_path / "events.parquet")
    return baselines.read_baskets(tmp_path)


def test_popularity_counts_baskets_and_not_lines(baskets):
    assert baselines.popularity(baskets, ["x"], 4) == {"x": [1, 7, 9, 3]}


def test_published_frequency_keeps_the_first_of_ties_first_and_fills_nothing(baskets):
    assert baselines.frequency(baskets, ["a", "x"], 20) == {"a": [7, 3, 1], "x": []}


def test_honest_frequency_breaks_ties_by_popularity_and_fills_short_lists(baskets):
    assert baselines.honest_frequency(baskets, ["a", "x"], 4) == {"a": [7, 1, 3, 9], "x": [1, 7, 9, 3]}


def test_new_popularity_leaves_out_what_the_customer_has(baskets):
    assert baselines.new_popularity(baskets, ["a"], 2) == {"a": [9]}


def test_scores_of_one_customer_are_arithmetic():
    found = customer_scores({"a": [1, 2, 3], "b": [4]}, {"a": [9, 1]}, [1, 2], cut_ideal=True)
    assert found["recall@2"].tolist() == [1 / 3, 0.0]
    assert found["phr@2"].tolist() == [1.0, 0.0]
    assert found["ndcg@2"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    whole = customer_scores({"a": [1, 2, 3]}, {"a": [9, 1]}, [2], cut_ideal=False)
    assert whole["ndcg@2"][0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3) + 0.5))


def test_figures_that_differ_from_the_scorer_are_refused():
    scores = {"recall@10": np.array([0.0, 1.0])}
    assert checked_scores(scores, {"recall@10": 0.5}) is scores
    with pytest.raises(SystemExit, match=r"recall@10"):
        checked_scores(scores, {"recall@10": 0.6})


def test_interval_of_a_constant_difference_has_no_width():
    one, other = {"recall@10": np.linspace(0.2, 1, 50)}, {"recall@10": np.linspace(0.1, 0.9, 50)}
    assert paired_intervals(one, other)["recall@10"] == [0.1, 0.1, 0.1]


def test_separate_runs_merge_into_one_table_and_replace_their_own_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("POND_COMMIT", "one")
    steps = {"train": Run(2.0, 10.0, "")}
    for fold in (0, 1):
        record("val", Row("tafeng", fold, "pond", "defaults", {"recall@10": 0.1 + fold}, steps, "c"), tmp_path)
    monkeypatch.setenv("POND_COMMIT", "two")
    against = {"system": "popularity", "recall@10": [0.1, 0.05, 0.15]}
    row = Row("tafeng", 1, "pond", "defaults", {"recall@10": 0.3}, steps, "c", against=against)
    record("val", row, tmp_path)
    rows = json.loads((tmp_path / "quality-val.json").read_text("utf-8"))["rows"]
    assert [(r["fold"], r["commit"], r["figures"]["recall@10"]) for r in rows] == [(0, "one", 0.1), (1, "two", 0.3)]
    text = (tmp_path / "quality-val.md").read_text("utf-8")
    assert "| pond | 0, 1 | 0.2000 | train 2 s, 10 |" in text
    assert "pond − popularity | +0.1000 [+0.0500, +0.1500]" in text
