"""Profiles as a shop sees them: over HTTP at once, in a file and in the lake by command, and gone when they must be."""

import asyncio
import json
import shutil
import time

import polars as pl
import pytest

from features.contracts import PROFILES
from features.dataset import build_dataset
from features.errors import UsageError
from features.lake import Lake
from features.profile_table import replace_profiles
from models.config import validated_pipeline_config
from models.lifecycle.rules import STAGES
from models.trained import Models
from pond.cli.main import main
from service.control import key_of_erasures
from service.from_lake import LakeWords
from service.guardian import StateServer, stop
from service.keeper import Drain
from service.live_state import LiveState, now_us
from service.profiles import profile_now
from service.state_client import connect
from tests import serving, worlds
from tests.traces import traces_of
from training.batch import write_recommendations
from training.fit import fit_parts
from training.profiles import profile_batch

OFF = {"purpose": "personalization", "state": "off"}
WHO = "=erase-me 顾客/0001"


@pytest.fixture(scope="module")
def models():
    return fit_parts(worlds.two_tastes(), serving.toy_models())


@pytest.fixture
def toy(tmp_path, state_server, models, shop):
    """Serves a shop of its own."""
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    toy.publish(models, "r1")
    return toy


def known(client, customer):
    answer = client.get(f"/v1/customers/{customer}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def tell(client, customer, kind="purchase", item="tea1", **more):
    event = {"event_id": f"{customer}-{kind}-{time.time()}", "customer_id": customer, "kind": kind, "at": time.time()}
    event |= ({"item_id": item} if item else {}) | more
    answer = client.post("/v1/events", json={"events": [event]})
    assert answer.status_code == 202, answer.text


def test_a_first_order_changes_the_stage_on_the_next_read(toy):
    with serving.served(toy) as client:
        client.put("/v1/customers/newcomer", json={"tags": ["敏感肌"], "advisor_id": "a1"})
        profile = known(client, "newcomer")["profile"]
        assert (profile["stage"]["name"], profile["tags"], profile["advisor_id"]) == ("aware", ["敏感肌"], "a1")
        tell(client, "newcomer", "open", item=None)
        assert known(client, "newcomer")["profile"]["stage"]["reason"]["code"] == "has_met_us"
        tell(client, "newcomer", "cart")
        assert known(client, "newcomer")["profile"]["stage"]["name"] == "interested"
        tell(client, "newcomer", price=20.0, quantity=2)
        profile = known(client, "newcomer")["profile"]
        assert profile["stage"]["name"] == "buyer"
        assert profile["stage"]["reason"]["zh"]
        assert (profile["purchase_days"], profile["recency_days"], profile["spend"]) == (1, 0, 40.0)
        assert "new_customer" in {tag["code"] for tag in profile["derived_tags"]}


def test_the_long_history_is_in_the_profile_and_is_old_by_now(toy):
    with serving.served(toy) as client:
        profile = known(client, "tea-1")["profile"]
        assert profile["purchase_days"] == 5
        assert profile["stage"]["name"] == "lost"  # the world of the toys ended long ago
        assert profile["layer"]["name"] == "sleeping"
        tell(client, "tea-1")
        assert known(client, "tea-1")["profile"]["stage"]["name"] in ("buyer", "loyal")


def test_who_switched_personalization_off_has_no_profile_until_it_is_on_again(toy):
    with serving.served(toy) as client:
        assert known(client, "tea-1")["profile"] is not None
        client.put("/v1/customers/tea-1/consent", json=OFF)
        told = known(client, "tea-1")
        assert (told["profile"], told["attributes"], told["recent"]) == (None, {}, [])
        assert "switched personalization off" in told["profile_note"]
        client.put("/v1/customers/tea-1/consent", json=OFF | {"state": "on"})
        assert known(client, "tea-1")["profile"] is not None


def test_without_a_release_the_answer_says_why_there_is_no_profile(tmp_path, state_server, shop):
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    with serving.served(toy) as client:
        client.put("/v1/customers/ann", json={"tags": ["x"]})
        told = known(client, "ann")
        assert told["profile"] is None
        assert "no release" in told["profile_note"]


def test_ids_that_became_one_person_have_one_profile(toy):
    with serving.served(toy) as client:
        tell(client, "phone-7")
        client.post("/v1/customers/phone-7/merge", json={"into": "tea-2"})
        told = known(client, "phone-7")
        assert told["customer_id"] == "tea-2"
        assert told["profile"]["purchase_days"] == 6


def test_service_and_batch_say_the_same_of_every_customer(toy, models, state_server):
    with serving.served(toy) as client:
        tell(client, "tea-1", price=3.0)
        tell(client, "stray", "view", item="coffee1")
        tell(client, "stray", "open", item=None)
        tell(client, "tea-2", "cart", item="unheard-of")
        tell(client, "phone-7")
        client.post("/v1/customers/phone-7/merge", json={"into": "tea-3"})
        client.put("/v1/customers/tea-4", json={"attributes": {"tier": "gold"}, "tags": ["VIP"]})
        client.put("/v1/customers/tea-5/consent", json=OFF)
        now = now_us()
        told = asyncio.run(_profiles_live(toy, models, state_server, now))
    frame = profile_batch(models, Lake(toy.shop.lake_dir), "r1", as_of=now, workers=1)
    batch = {row["customer_id"]: json.loads(row["body"]) for row in frame.to_dicts()}
    assert {"stray", "tea-3", "tea-4"} <= batch.keys()
    assert not {"tea-5", "phone-7"} & batch.keys()
    for who, live in told.items():
        for name, value in live.items():
            if name not in ("channels", "joined_at"):
                assert batch[who][name] == value, (who, name)


async def _profiles_live(toy, models, server: StateServer, now):
    """The journal drained to the lake, and everybody's profile from the live state."""
    settings = toy.settings
    state = LiveState(connect(server, settings), settings, key_of_erasures(settings))
    try:
        lake = Lake(toy.shop.lake_dir)
        await LakeWords(state).bring(toy.shop)
        await Drain(state.client, toy.shop.name, lake, toy.shop.rejects_dir, settings.partitions).run()
        names = [who for who in (*models.customers.ids.texts, "stray") if who != "tea-5"]
        read = {who: await state.read(toy.shop.name, who) for who in names}
        return {who: profile_now(models, one, now).model_dump(mode="json") for who, one in read.items()}
    finally:
        await state.close()


# The command

ROWS = [
    "customer_id,kind,at,item_id,price,quantity,order_id,channel",
    *(f"c{n},purchase,2025-0{m}-1{n % 8}T0{n % 8}:00:00,tea,9.5,1,o{n}-{m},app" for n in range(8) for m in range(1, 7)),
    f"{WHO},purchase,2025-06-20T10:00:00,tea,9.5,2,o-x,store",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A shop of eight regular customers and one more, trained."""
    folder = tmp_path_factory.mktemp("trained")
    home, at = folder / "home", ["--home", str(folder / "home"), "--quiet"]
    (folder / "events.csv").write_text("\n".join(ROWS), "utf-8")
    (folder / "products.csv").write_text("product_id,title,category,price,cost\ntea,绿茶,drinks/tea,9.5,5\n", "utf-8")
    assert main(["shop", "create", "tea", *at]) == 0
    files = ["--events", str(folder / "events.csv"), "--products", str(folder / "products.csv")]
    assert main(["ingest", "--shop", "tea", *files, *at]) == 0
    quick = ("training.bootstrap_samples=100", "training.workers=1", "training.tracking=false")
    assert main(["train", "--shop", "tea", *(part for one in quick for part in ("--set", one)), *at]) == 0
    return home


@pytest.fixture
def home(trained, tmp_path):
    """A copy of that shop's home, which a test may change."""
    folder = tmp_path / "home"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("state"))
    yield folder
    stop(serving.ServiceSettings(home=folder))


def profiled(home, out, *more):
    return main(["profile", "--shop", "tea", "--out", str(out), "--home", str(home), "--quiet", *more])


def lake_of(home):
    return Lake(home / "shops" / "tea" / "lake")


def test_the_command_writes_a_file_of_each_format_and_the_table_of_the_lake(home, tmp_path, capsys):
    assert profiled(home, tmp_path / "p.parquet") == 0
    said = capsys.readouterr().out
    assert "9 profiles" in said
    assert "stages: " in said
    frame = pl.read_parquet(tmp_path / "p.parquet")
    assert frame.columns == list(PROFILES.schema)
    assert frame["customer_id"].to_list() == sorted([*(f"c{n}" for n in range(8)), WHO])
    assert set(frame["stage"]) <= set(STAGES)
    assert frame.filter(pl.col("customer_id") == WHO)["spend"].item() == 19.0
    assert frame.filter(pl.col("customer_id") == WHO)["channels"].to_list() == [["store"]]
    assert lake_of(home).scan("profiles").collect().equals(frame)

    assert profiled(home, tmp_path / "p.csv") == 0
    cells = pl.read_csv(tmp_path / "p.csv", infer_schema=False)
    assert f"'{WHO}" in cells["customer_id"].to_list()  # a spreadsheet would run it as a formula
    assert cells["derived_tags"].to_list()[1].split("|") == frame["derived_tags"].to_list()[1]
    assert profiled(home, tmp_path / "p.jsonl") == 0
    first = json.loads((tmp_path / "p.jsonl").read_text("utf-8").splitlines()[0])
    assert json.loads(first["body"])["stage"]["reason"]["zh"]


def test_profiles_are_versions_by_moment_and_a_moment_told_again_is_replaced(home, tmp_path):
    assert profiled(home, tmp_path / "p.parquet", "--as-of", "2025-04-01") == 0
    early = pl.read_parquet(tmp_path / "p.parquet")
    assert WHO not in early["customer_id"].to_list()
    assert early["purchase_days"].to_list() == [3] * 8
    assert profiled(home, tmp_path / "p.parquet") == 0
    assert profiled(home, tmp_path / "p.parquet", "--as-of", "2025-04-01") == 0
    table = lake_of(home).scan("profiles").collect()
    assert table.height == 8 + 9
    assert table["as_of"].n_unique() == 2
    assert len([*(home / "shops" / "tea" / "lake" / "profiles").glob("*.parquet")]) == 2


def test_who_refuses_later_leaves_all_versions_with_the_next_writing(home, tmp_path):
    assert profiled(home, tmp_path / "p.parquet", "--as-of", "2025-04-01") == 0
    (tmp_path / "consents.csv").write_text(
        "customer_id,purpose,at,state\nc3,personalization,2025-06-30T00:00:00,off\n", "utf-8"
    )
    at = ["--shop", "tea", "--home", str(home), "--quiet"]
    assert main(["ingest", "--consents", str(tmp_path / "consents.csv"), *at]) == 0
    assert profiled(home, tmp_path / "p.parquet") == 0
    assert "c3" not in pl.read_parquet(tmp_path / "p.parquet")["customer_id"].to_list()
    table = lake_of(home).scan("profiles").collect()
    assert table.height == 7 + 8  # eight customers came before April, nine in all
    assert "c3" not in table["customer_id"].to_list()


def test_an_erased_customer_is_in_no_profile_and_does_not_come_back(home, tmp_path):
    assert profiled(home, tmp_path / "p.parquet") == 0
    at = ["--shop", "tea", "--home", str(home), "--quiet"]
    out = tmp_path / "export.zip"
    assert main(["export", "--customer", WHO, "--out", str(out), *at]) == 0
    assert any("profiles.jsonl" in found for found in traces_of(WHO, out.parent) if "export.zip" in found)
    assert main(["erase", "--customer", WHO, *at]) == 0
    assert traces_of(WHO, home / "shops") == []
    assert profiled(home, tmp_path / "q.parquet") == 0
    assert traces_of(WHO, home / "shops", tmp_path / "q.parquet") == []
    assert lake_of(home).scan("profiles").collect().height == 8


def test_a_wrong_extension_is_refused_before_the_work(home, tmp_path, capsys):
    assert profiled(home, tmp_path / "p.xlsx") == 2
    assert "one of .parquet, .csv, .jsonl" in capsys.readouterr().err
    assert lake_of(home).parts("profiles") == ()


def test_profiles_cannot_be_ingested(home, tmp_path, capsys):
    (tmp_path / "map.toml").write_text('[profiles]\ncustomer_id = "who"\n')
    at = ["--shop", "tea", "--home", str(home), "--quiet", "--events", str(tmp_path / "map.toml")]
    assert main(["ingest", "--map", str(tmp_path / "map.toml"), *at]) == 3
    assert "profiles" in capsys.readouterr().err


# The table


def test_somebody_who_goes_while_profiles_are_made_is_not_written(tmp_path):
    lake = Lake(tmp_path)
    rows = pl.DataFrame(
        {"customer_id": ["ann", "bob"], "as_of": [5, 5], "body": ["{}", "{}"]}
    ).match_to_schema(PROFILES.schema, missing_columns="insert")  # fmt: skip
    assert replace_profiles(lake, rows, 5, lambda ids: {"bob"} & {*ids})["customer_id"].to_list() == ["ann"]
    assert lake.scan("profiles").collect()["customer_id"].to_list() == ["ann"]
    assert replace_profiles(lake, rows.head(0), 5, lambda _: {"ann"}).height == 0
    assert lake.parts("profiles") == ()
    assert [*(tmp_path / "profiles").glob("*.parquet")] == []


def test_lists_are_texts_in_csv_and_a_missing_folder_is_said(tmp_path):
    frame = pl.DataFrame({"customer_id": ["a"], "tags": [["x", "y"]]})
    write_recommendations(frame, tmp_path / "f.csv")
    assert (tmp_path / "f.csv").read_text() == "customer_id,tags\na,x|y\n"
    with pytest.raises(UsageError, match="no directory"):
        write_recommendations(frame, tmp_path / "nowhere" / "f.csv")


def test_processes_say_the_same_as_one(monkeypatch):
    monkeypatch.setattr("training.workers.FEW", 2)
    dataset = worlds.two_tastes()
    config = validated_pipeline_config({}, "test")
    models = fit_parts(dataset, Models.of(dataset, config, {}))
    alone = profile_batch(models, worlds.ToyTables(), "r1", workers=1)
    assert alone.height == 12
    assert profile_batch(models, worlds.ToyTables(), "r1", workers=2).equals(alone)
    assert build_dataset(worlds.ToyTables(), "toy", worlds.TIMEZONE).digest != dataset.digest
