"""`pond tune` from the command line: real lake, study and MLflow store; what it writes is what `pond train` takes."""

import tomllib

import polars as pl
import pytest
from mlflow import MlflowClient

from features.contracts import table_named
from features.lake import Lake
from features.shop import create_shop
from pond.cli.main import main
from tests import worlds
from training.settings import merge_settings

# MLflow 3.17 asks SQLAlchemy 2.1 for options that it deprecates; both are pinned.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
CONFIG = """
[training]
protocol = "time_split"
horizon_days = 7
bootstrap_samples = 200
workers = 1
scenes = ["home"]
gate_scenes = ["home"]
gate = "off"
[scenes.home.sources]
popular = 1.0
repeat = 0.3
[ranker]
least_questions = 100000
"""


def rows():
    """Everybody buys three favourites weekly, and bought eight bestsellers once: the recipe above shows those first."""
    for who in range(40):
        yield from ((f"c{who:02d}", f"best{best}", best % 3) for best in range(8))
        for week in range(1, 10):
            yield from ((f"c{who:02d}", f"own{(3 * who + n) % 60:02d}", 7 * week + who % 5) for n in range(3))


@pytest.fixture
def shop(tmp_path):
    made = create_shop(tmp_path / "home", "toy", worlds.TIMEZONE)
    table = table_named("events")
    with Lake(made.lake_dir).writer("events") as writer:
        writer.write(worlds.events(rows()).select(pl.col(n).cast(t) for n, t in table.schema.items()))
        writer.commit()
    with made.config_file.open("a") as file:
        file.write(CONFIG)
    return made


def pond(shop, *words):
    return main(["--home", str(shop.root.parents[1]), words[0], "--shop", "toy", *words[1:]])


def test_tune_twice_and_train_with_what_it_found(shop, tmp_path, capsys):
    out = tmp_path / "pond-tuned.toml"
    assert pond(shop, "tune", "--trials", "8", "--out", str(out)) == 0
    said = capsys.readouterr()
    assert "is new: 8 trials tried now, 8 in all" in said.out
    assert f"pond train --shop toy --config {out}" in said.out
    assert "significantly better in home" in said.out
    assert "scenes.home.sources.repeat" in said.out

    assert pond(shop, "tune", "--trials", "2", "--out", str(out)) == 0
    assert "goes on: 2 trials tried now, 10 in all" in capsys.readouterr().out

    text = out.read_text("utf-8")
    assert text.startswith("# Written by pond tune.\n# Shop toy, study ")
    assert set(tomllib.loads(text)) <= {"scenes", "sources"}
    assert merge_settings(shop, {}, out).pipeline.digest != merge_settings(shop, {}).pipeline.digest
    assert pond(shop, "train", "--config", str(out)) == 0

    client = MlflowClient(f"sqlite:///{shop.root.parents[1]}/mlflow/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("pond/toy").experiment_id])
    (parent,) = (run for run in runs if run.info.run_name.startswith("tune "))
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 11
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert all({"score", "gain", "seconds", "home.ndcg_at_10"} <= set(run.data.metrics) for run in children)
    assert {run.data.params["part"] for run in children} == {
        "current", "sources.popular", "sources.repeat", "scenes.home",
    }  # fmt: skip
    assert parent.data.metrics["trials"] == 10
    assert parent.data.metrics["confirmed.home.low"] > 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--trials N, --minutes M"),
        (("--trials", "0"), 2, "--trials 0 tries nothing"),
        (("--minutes", "-1"), 2, "no time to tune in"),
        (("--trials", "1", "--scenes", "hme"), 2, "There is no scene 'hme'"),
        (("--trials", "1", "--scenes", ","), 2, "names no scene"),
        (("--trials", "1", "--set", "training.horizon_days=40"), 3, "ingest more history"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(shop, tmp_path, capsys, words, code, said):
    assert pond(shop, "tune", *words, "--out", str(tmp_path / "tuned.toml")) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (shop.root / "tuning" / "studies.db").exists()


def test_a_file_somebody_wrote_is_not_replaced(shop, tmp_path, capsys):
    mine = tmp_path / "mine.toml"
    mine.write_text("[ranker]\n")
    assert pond(shop, "tune", "--trials", "1", "--out", str(mine)) == 2
    assert "--force" in capsys.readouterr().err
    assert mine.read_text() == "[ranker]\n"
