"""`pond bundles` on a shop whose bundles are known."""

import json

import polars as pl
import pytest

from pond.cli.main import main
from tests import bundle_world, serving


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = tmp_path_factory.mktemp("home")
    own = [{"bundle_id": "own", "product_ids": ["tea", "honey"], "title": "=tea time", "price": 19.9}]
    serving.open_toy_shop(place, "tea").publish(bundle_world.fitted(own), "r1")
    return place


def bundles(home, out, *words):
    return main(["bundles", "--shop", "tea", "--out", str(out), *words, "--home", str(home), "--quiet"])


def test_bundles_around_a_product_come_with_parts_prices_and_evidence(home, tmp_path):
    out = tmp_path / "x.parquet"
    assert bundles(home, out, "--around", "vacuum", "--k", "1", "--discount", "0.1") == 0
    row = pl.read_parquet(out).row(0, named=True)
    assert (row["customer_id"], row["item_kind"], row["parts"]) == (None, "bundle", ["vacuum", "bags"])
    assert row["item_id"].startswith("auto-")
    assert (row["price"], row["saving"]) == (828.0, 92.0)
    assert row["margin"] == pytest.approx((828 - 605) / 828, abs=1e-4)
    assert json.loads(row["evidence"])["count"] == 12
    assert "dust bags" in row["reason_en"]


def test_every_customer_gets_his_own_and_csv_holds_the_lists(home, tmp_path):
    out = tmp_path / "x.csv"
    assert bundles(home, out, "--customers", "all", "--k", "2") == 0
    frame = pl.read_csv(out)
    assert frame.group_by("customer_id").len()["len"].max() == 2
    first = frame.filter((pl.col("rank") == 2) & (pl.col("customer_id") == "c1"))["parts"].to_list()
    assert [set(held.split("|")) for held in first] == [{"vacuum", "bags"}]


def test_the_scene_of_recommend_shows_the_shops_bundles_first(home, tmp_path):
    out, who = tmp_path / "x.jsonl", tmp_path / "who.txt"
    who.write_text("c1\n")
    words = ["--shop", "tea", "--scene", "bundles", "--k", "3", "--customers", str(who), "--out", str(out)]
    assert main(["recommend", *words, "--home", str(home), "--quiet"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[0]["item_id"] == "own"
    assert rows[0]["parts"] == ["tea", "honey"]


def test_limits_that_nothing_keeps_are_said(home, tmp_path, capsys):
    assert bundles(home, tmp_path / "x.csv", "--theme", "tea", "--target-price", "1") == 0
    assert "shorter than asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--around", "tea", "--theme", "tea"], "two different things"),
        (["--size-min", "4", "--size-max", "2"], "above --size-max"),
        (["--around", "tea", "--around", "cup", "--around", "honey", "--size-max", "2"], "more than a bundle"),
        (["--margin-floor", "1.5"], "give a share"),
    ],
)
def test_a_wish_that_makes_no_sense_is_a_usage_error(home, tmp_path, capsys, words, said):
    assert bundles(home, tmp_path / "x.csv", *words) == 2
    assert said in capsys.readouterr().err
