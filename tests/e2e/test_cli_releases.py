"""Releases from the command line: train, judge, let another serve, go back; the registry follows."""

import json

import pytest

from models.release_store import DirectoryStore
from pond.cli.main import main
from tests.e2e.test_cli_readme import MEMBERS, write_shop
from training.registry import CHAMPION, model_name
from training.tracking import open_tracker

MAPPING = """
[events]
customer_id = "who"
item_id = "sku"
at = "paid"
order_id = "slip"

[events.defaults]
kind = "purchase"

[products]
product_id = "sku"
title = "name"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    (folder / "map.toml").write_text(MAPPING)
    write_shop(folder, MAPPING)
    files = ["--events", str(folder / "orders.csv"), "--products", str(folder / "products.csv")]
    at = ["--home", str(folder / "home"), "--quiet"]
    assert main(["shop", "create", "tea", *at]) == 0
    assert main(["ingest", "--shop", "tea", *files, "--map", str(folder / "map.toml"), *at]) == 0
    quick = ["--set", "training.bootstrap_samples=100", "--set", "training.workers=1"]
    for seed in (0, 1):
        assert (
            main(
                [
                    "train",
                    "--shop",
                    "tea",
                    "--set",
                    f"training.seed={seed}",
                    "--set",
                    "training.gate='off'",
                    *quick,
                    *at,
                ]
            )
            == 0
        )
    return folder / "home"


@pytest.fixture
def store(home):
    return DirectoryStore(home / "shops" / "tea" / "releases")


def champion(home):
    client = open_tracker("", home).client
    return client.get_model_version_by_alias(model_name("tea"), CHAMPION).tags["pond.release"]


def test_going_back_and_forth_moves_the_pointer_and_the_champion(home, store, capsys):
    first, second = [m.release_id for m in store.list()]
    at = ["--shop", "tea", "--home", str(home)]
    assert (store.current_id(), champion(home)) == (second, second)
    assert main(["rollback", *at]) == 0
    assert (store.current_id(), champion(home)) == (first, first)
    assert main(["promote", second, *at]) == 0
    assert (store.current_id(), champion(home)) == (second, second)
    assert main(["releases", *at]) == 0
    assert first in capsys.readouterr().out


def test_an_evaluation_is_shown_and_kept_whole(home, tmp_path, capsys):
    out = tmp_path / "report.json"
    words = ["--shop", "tea", "--protocol", "last_basket", "--k", "2,4", "--out", str(out), "--home", str(home)]
    assert main(["evaluate", *words]) == 0
    said = capsys.readouterr().out
    assert "recall@4" in said
    assert "personal_frequency" in said
    assert json.loads(out.read_text())["protocol"] == "last_basket"


def test_an_earlier_moment_answers_from_less(home, tmp_path, capsys):
    who = tmp_path / "who.txt"
    who.write_text(f"{MEMBERS[0]}\nnobody\n")
    answers = []
    for moment in ("2025-01-01", "2025-04-30"):
        out = tmp_path / f"{moment}.jsonl"
        words = ["--shop", "tea", "--scene", "rebuy", "--k", "3", "--customers", str(who), "--out", str(out)]
        assert main(["recommend", *words, "--as-of", moment, "--home", str(home)]) == 0
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        answers.append({row["stage"] for row in rows if row["customer_id"] == MEMBERS[0]})
        assert "nobody" not in {row["customer_id"] for row in rows}
        said = capsys.readouterr().out
        assert "shorter than asked: this scene shows only what was bought before, and nothing was" in said
    assert answers[0] == set()
    assert "repeat" in answers[1]


def test_a_wrong_scene_or_file_is_a_usage_error(home, tmp_path, capsys):
    at = ["--shop", "tea", "--customers", "all", "--home", str(home)]
    assert main(["recommend", "--scene", "nowhere", "--out", str(tmp_path / "x.csv"), *at]) == 2
    assert main(["recommend", "--scene", "home", "--out", str(tmp_path / "x.docx"), *at]) == 2
    assert main(["train", "--shop", "tea", "--engine", "spark", "--home", str(home)]) == 2
    assert "there is no engine" in capsys.readouterr().err.lower()
