"""A whole training run on a toy shop: real lake, real release store, real MLflow store in a file."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from features.contracts import table_named
from features.errors import ContractError, GateRefused, UsageError
from features.lake import Lake
from features.shop import create_shop
from models.release_store import DirectoryStore
from models.slate import Request
from tests import worlds
from training.evaluate import POND, evaluate_release
from training.plots import draw_product_map
from training.registry import CHALLENGER, CHAMPION, find_version, model_name, set_champion
from training.run import train
from training.settings import merge_settings
from training.tracking import MlflowTracker, open_tracker

# MLflow 3.17 asks SQLAlchemy 2.1 for options that it deprecates; both are pinned.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
QUICK = ["training.bootstrap_samples=100", "training.workers=1", "training.horizon_days=7"]
TASTES = ("tea", "coffee")


def rows():
    """Two tastes; everybody buys the own favourite weekly and something of the taste beside it."""
    for taste in TASTES:
        for who in range(16):  # 32 in all: gates judge on no fewer than 30
            for week in range(8):
                at = 7 * week + who % 3
                yield f"{taste}-{who}", f"{taste}{who % 4}", at
                yield f"{taste}-{who}", f"{taste}{(who + week) % 6}", at
                yield f"{taste}-{who}", "bread", at + 1


@pytest.fixture
def shop(tmp_path):
    made = create_shop(tmp_path, "toy", worlds.TIMEZONE)
    fill(made)
    return made


def fill(shop):
    lake = Lake(shop.lake_dir)
    products = [
        {"product_id": f"{t}{n}", "title": f"{t} {n}", "category": f"drinks/{t}"} for t in TASTES for n in range(6)
    ]
    for name, frame in (("events", worlds.events(rows())), ("products", worlds.rows_of("products", products))):
        table = table_named(name)
        with lake.writer(name) as writer:
            writer.write(frame.select(pl.col(n).cast(t) for n, t in table.schema.items()))
            writer.commit()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A shop after its first run, recorded in MLflow, for tests that only look at it."""
    home = tmp_path_factory.mktemp("trained")
    shop, tracker = create_shop(home, "toy", worlds.TIMEZONE), open_tracker("", home)
    fill(shop)
    return shop, train(shop, merge_settings(shop, {}, sets=QUICK), tracker=tracker), tracker


def test_first_release_is_promoted_with_its_gates_and_serves_what_was_judged(trained):
    shop, report, _ = trained
    store = DirectoryStore(shop.releases_dir)
    assert report.promoted
    assert store.current_id() == report.release_id
    manifest = store.load(report.release_id).manifest
    assert "first" in manifest.gates
    assert manifest.metrics["home.recall@10"] == report.evaluation.scenes["home"].metrics[POND]["recall@10"].mean
    home = report.evaluation.scenes["home"]
    assert home.n_customers == 32
    assert home.metrics[POND]["recall@10"].mean > 0.9
    assert abs(sum(home.stage_share.values()) - 1) < 1e-9
    run = json.loads((Path(report.run_dir) / "run.json").read_text())
    assert run["status"] == "finished"
    plots = {p.name for p in (Path(report.run_dir) / "plots").glob("*.png")}
    assert {"recall_by_history.png", "repeat_explore.png", "coverage_popularity.png", "sources.png"} <= plots


def test_same_data_configuration_and_seed_give_the_same_release_in_other_processes(shop):
    program = (
        "import sys; from pathlib import Path; from features.shop import open_shop; "
        "from training.run import train; from training.settings import merge_settings\n"
        "shop = open_shop(Path(sys.argv[1]), 'toy')\n"
        "print(train(shop, merge_settings(shop, {}, sets=sys.argv[2:])).content_digest)"
    )
    command = [sys.executable, "-c", program, str(shop.root.parents[1]), *QUICK, "training.gate=off"]
    once, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert once == again != ""


def test_a_worse_recipe_is_kept_as_challenger_and_does_not_serve(shop, tmp_path):
    tracker = open_tracker("", tmp_path)
    first = train(shop, merge_settings(shop, {}, sets=QUICK), tracker=tracker)
    worse = ["scenes.home.sources={newest = 1.0}", "scenes.next_basket.sources={newest = 1.0}"]
    shown = []
    with pytest.raises(GateRefused, match="kept as challenger"):
        train(shop, merge_settings(shop, {}, sets=[*QUICK, *worse]), tracker=tracker, show=shown.append)
    (seen,) = shown
    assert seen.evaluation.scenes
    assert not seen.gates.passed
    store = DirectoryStore(shop.releases_dir)
    assert store.current_id() == first.release_id
    refused = next(m.release_id for m in store.list() if m.release_id != first.release_id)
    client, model = tracker.client, model_name("toy")
    assert str(client.get_model_version_by_alias(model, CHAMPION).version) == find_version(
        client, model, first.release_id
    )
    assert str(client.get_model_version_by_alias(model, CHALLENGER).version) == find_version(client, model, refused)
    assert set_champion(client, model, refused)
    assert str(client.get_model_version_by_alias(model, CHAMPION).version) == find_version(client, model, refused)
    assert not set_champion(client, model, "r-unknown")


def test_mlflow_holds_parameters_figures_pictures_and_embeddings(trained):
    _, report, tracker = trained
    assert not [text for text in report.warnings if "MLflow" in text]
    client = tracker.client
    (run,) = client.search_runs([client.get_experiment_by_name("pond/toy").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["training.horizon_days"] == "7"
    assert run.data.metrics["home.recall_at_10"] == report.evaluation.figures()["home.recall@10"]
    assert "popularity.home.recall_at_10" in run.data.metrics
    folders = {
        f: {Path(a.path).name for a in client.list_artifacts(run.info.run_id, f)}
        for f in ("plots", "release", "embeddings")
    }
    assert "sources.png" in folders["plots"]
    assert folders["release"] == {"manifest.json", "config.json"}
    kept = Path(report.run_dir) / "embeddings" / "als_products.parquet"
    assert kept.name in folders["embeddings"]
    assert pl.read_parquet(kept).columns == ["product_id", "vector"]


def test_a_shop_too_young_to_be_judged_serves_from_its_first_day(tmp_path):
    young = create_shop(tmp_path, "young", worlds.TIMEZONE)
    writer_of = {
        "products": worlds.rows_of("products", [{"product_id": p, "title": p} for p in ("tea", "cup")]),
        "events": worlds.events([("ann", "tea", 1)]),
    }
    for name, frame in writer_of.items():
        with Lake(young.lake_dir).writer(name) as writer:
            writer.write(frame.select(pl.col(n).cast(t) for n, t in table_named(name).schema.items()))
            writer.commit()
        report = train(young, merge_settings(young, {}))
        assert report.promoted
        assert report.evaluation.n_customers == 0
        assert any("nothing could be judged" in warning for warning in report.warnings)
    models = DirectoryStore(young.releases_dir).load(report.release_id).models
    slate = models.pipeline.recommend(Request(models.query(-1, models.as_of), "home", 1), models.items)
    assert [models.products.ids.text(pick.item_idx) for pick in slate.picks] == ["tea"]


def test_a_moment_before_all_data_is_named_with_where_they_begin(shop):
    with pytest.raises(UsageError, match=r"happened before --as-of; its data begin at 20\d\d-"):
        train(shop, merge_settings(shop, {}), as_of=worlds.START)


def test_a_failed_run_is_recorded_as_failed(tmp_path):
    empty = create_shop(tmp_path, "empty", worlds.TIMEZONE)
    tracker = open_tracker("", tmp_path)
    with pytest.raises(ContractError, match="no purchases"):
        train(empty, merge_settings(empty, {}), tracker=tracker)
    (run_file,) = empty.root.glob("runs/*/run.json")
    assert json.loads(run_file.read_text())["status"] == "failed"
    client = tracker.client
    (run,) = client.search_runs([client.get_experiment_by_name("pond/empty").experiment_id])
    assert run.info.status == "FAILED"
    assert "no purchases" in run.data.tags["pond.failure"]


def test_a_tracker_that_is_away_is_a_warning_and_the_release_serves(shop):
    away = MlflowTracker("http://127.0.0.1:9", pause_s=0.01)
    report = train(shop, merge_settings(shop, {}, sets=QUICK), tracker=away)
    assert report.promoted
    assert sum("MLflow" in text for text in report.warnings) == 1
    assert "could not open a run" in report.warnings[-1]


def test_no_promote_publishes_without_serving(shop):
    report = train(shop, merge_settings(shop, {}, sets=QUICK), promote=False)
    store = DirectoryStore(shop.releases_dir)
    assert not report.promoted
    assert store.current_id() is None
    assert [m.release_id for m in store.list()] == [report.release_id]


def test_a_release_can_be_judged_again_and_its_map_drawn(trained, tmp_path):
    shop, report, _ = trained
    told = merge_settings(shop, {}, sets=QUICK)
    release = DirectoryStore(shop.releases_dir).load(report.release_id)
    assert evaluate_release(shop, release, told.training).report == report.evaluation
    counts = pl.Series([5] * len(release.models.items)).to_numpy()
    drawn = draw_product_map(release.models, counts, tmp_path / "map.png", 0)
    assert drawn is None or drawn.exists()
