"""Several ids of one person, over HTTP, by file and in training."""

import asyncio
import time

import polars as pl
import pytest
import redis

from features.contracts import table_named
from features.dataset import build_dataset
from features.lake import Lake
from pond.cli.main import main as pond
from service.control import key_of_erasures
from service.guardian import StateServer
from service.keep import Shops
from service.keeper import run_keeper
from service.live_state import LiveState
from service.merges import Merges
from service.state_client import connect
from tests import serving, worlds
from training.batch import CustomerRow, recommend_batch


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


@pytest.fixture
def toy(tmp_path, state_server, models, shop):
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    toy.publish(models, "r1")
    return toy


def recommend(client, customer, **more):
    answer = client.post("/v1/recommend", json={"customer_id": customer, "k": 9} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def repeats(answer):
    return {item["item_id"] for item in answer["items"] if item["stage"] == "repeat"}


def shown(answer):
    return [(i["item_id"], i["score"], i["stage"]) for i in answer["items"]]


NOW = time.time()


def tell(client, customer, item, event_id):
    event = {"event_id": event_id, "customer_id": customer, "kind": "purchase", "at": NOW, "item_id": item}
    sent = client.post("/v1/events", json={"events": [event]})
    assert sent.status_code == 202
    return sent.json()["results"][0]["result"]


def link(client, value, customer, id_type="openid"):
    return client.put(f"/v1/identities/{id_type}/{value}", json={"customer_id": customer})


def problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["detail"]


TEAS = {"tea0", "tea2", "tea3", "tea4", "bread"}  # what tea-1 has bought
COFFEES = {"coffee0", "coffee1", "coffee3", "coffee4", "bread"}  # what coffee-2 has


def test_an_id_that_is_linked_means_the_person_wherever_it_is_named(toy):
    with serving.served(toy) as client:
        told = link(client, "o%2FX 微信", "tea-1").json()
        assert told == {"customer_id": "tea-1", "other_id": "o/X 微信", "result": "merged"}
        assert link(client, "o%2FX 微信", "tea-1").json()["result"] == "already"
        assert shown(recommend(client, "o/X 微信", scene="rebuy")) == shown(recommend(client, "tea-1", scene="rebuy"))
        assert tell(client, "o/X 微信", "coffee1", "e1") == "stored"
        assert tell(client, "o/X 微信", "coffee1", "e1") == "duplicate"
        assert "coffee1" in repeats(recommend(client, "tea-1", scene="rebuy"))
        answer = recommend(client, "o/X 微信", scene="home")
        assert client.get(f"/v1/decisions/{answer['decision_id']}").json()["customer_id"] == "tea-1"
        client.put("/v1/customers/o%2FX 微信", json={"attributes": {"region": "coast"}})
        seen = client.get("/v1/customers/o%2FX 微信").json()
        assert (seen["customer_id"], seen["other_ids"], seen["attributes"]) == (
            "tea-1", ["o/X 微信"], {"region": "coast"},
        )  # fmt: skip
        off = {"purpose": "personalization", "state": "off"}
        client.put("/v1/customers/o%2FX 微信/consent", json=off)
        stranger = shown(recommend(client, "nobody", scene="rebuy"))
        assert shown(recommend(client, "tea-1", scene="rebuy")) == stranger
        batch = {"queries": [{"customer_id": "o/X 微信", "scene": "rebuy", "k": 9}]}
        (one,) = client.post("/v1/recommend/batch", json=batch).json()["results"]
        assert shown(one["answer"]) == stranger


def test_right_after_a_merge_the_answer_uses_what_the_release_knows_of_both(toy):
    with serving.served(toy) as client:
        tell(client, "coffee-2", "tea1", "live-1")
        assert repeats(recommend(client, "tea-1", scene="rebuy")) == TEAS
        merged = client.post("/v1/customers/coffee-2/merge", json={"into": "tea-1"})
        assert merged.json() == {"customer_id": "tea-1", "other_id": "coffee-2", "result": "merged"}
        for name in ("tea-1", "coffee-2"):
            assert repeats(recommend(client, name, scene="rebuy", k=11)) == TEAS | COFFEES | {"tea1"}
            bought = {item for item, *_ in shown(recommend(client, name, scene="discover", k=11))}
            assert not bought & (TEAS | COFFEES | {"tea1"})
        seen = client.get("/v1/customers/coffee-2").json()
        assert (seen["attributes"]["region"], seen["known_to_release"]) == ("tealand", True)


def test_a_person_the_release_knows_only_by_the_old_id_keeps_its_history_and_profile(toy):
    with serving.served(toy) as client:
        before = shown(recommend(client, "tea-1"))
        assert link(client, "tea-1", "member-77", "card").json()["customer_id"] == "member-77"
        assert shown(recommend(client, "member-77")) == shown(recommend(client, "tea-1")) == before
        assert client.get("/v1/customers/member-77").json()["attributes"] == {"region": "tealand", "tier": "gold"}


def test_what_cannot_be_joined_or_taken_apart_is_refused_with_the_reason(toy):
    with serving.served(toy) as client:
        link(client, "x", "tea-1")
        merge = lambda who, into: client.post(f"/v1/customers/{who}/merge", json={"into": into})  # noqa: E731
        assert "himself" in problem(merge("tea-1", "tea-1"), 409, "cannot_merge")
        assert "one person" in problem(merge("tea-1", "x"), 409, "cannot_merge")
        assert "another customer" in problem(link(client, "x", "coffee-2", "phone"), 409, "cannot_merge")
        assert "told apart" in problem(client.delete("/v1/identities/openid/x"), 409, "cannot_unmerge")
        problem(client.delete("/v1/identities/openid/unknown"), 404, "not_found")
        problem(client.put("/v1/identities/openid/y", json={}), 422, "invalid_request")
        assert repeats(recommend(client, "coffee-2", scene="rebuy")) == COFFEES


def test_training_and_service_come_to_the_same_person(toy, models):
    lake = Lake(toy.shop.lake_dir)
    rows = [("ann", "tea", 1), ("phone", "milk", 2), ("phone", "rice", 3), ("ann", "milk", 4), ("bob", "tea", 5)]
    wide = [(f"c{n}", item, 1 + n) for n in range(4) for item in ("tea", "milk", "rice", "salt")]
    events = worlds.events([*rows, *wide]).cast(dict(table_named("events").schema))
    lake.append("events", events)
    apart = build_dataset(lake, toy.shop.name, worlds.TIMEZONE)
    toy.publish(serving.fitted(apart), "r2")
    with serving.served(toy) as client:
        tell(client, "phone", "salt", "live")
        client.post("/v1/customers/phone/merge", json={"into": "ann"})
        before = {scene: shown(recommend(client, "ann", scene=scene)) for scene in ("rebuy", "discover")}
        asyncio.run(_keep(toy))  # the merge and the event are drained to the lake
        joined = build_dataset(lake, toy.shop.name, worlds.TIMEZONE, worlds.day(6))
        assert "phone" not in joined.customers.ids.texts
        told = joined.product_events.of(joined.customers.ids.idx("ann"))
        assert [joined.products.ids.text(i) for i in told.item_idx] == ["tea", "milk", "rice", "milk"]
        assert list(told.at) == [worlds.day(n) for n in (1, 2, 3, 4)]
        # A release trained since knows one person, and answers for both ids alike.
        toy.publish(serving.fitted(joined), "r3")
        deadline = time.monotonic() + 20
        while recommend(client, "ann")["release"] != "r3":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        after = {scene: recommend(client, "phone", scene=scene) for scene in ("rebuy", "discover")}
        assert shown(after["rebuy"]) == shown(recommend(client, "ann", scene="rebuy"))
        assert repeats(after["rebuy"]) == {"tea", "milk", "rice", "salt"}
        assert {item for item, *_ in before["rebuy"]} == {item for item, *_ in shown(after["rebuy"])}


async def _keep(toy, rounds_s=0.0):
    stop = asyncio.Event()
    stop.set()
    shops = Shops(toy.settings.home, toy.settings, key_of_erasures(toy.settings))
    await run_keeper(
        StateServer(toy.settings.redis_url, embedded=False), toy.settings, shops.kept, stop, rounds_s or 0.01
    )


def test_the_keeper_brings_files_and_ends_what_a_dead_caller_began(toy):
    lake = Lake(toy.shop.lake_dir)
    row = {"id_type": "openid", "id_value": "o1", "customer_id": "tea-1"}
    lake.append("identities", pl.DataFrame([row], schema=table_named("identities").schema), source="ids.csv")

    async def begin():
        state = LiveState(
            connect(StateServer(toy.settings.redis_url, embedded=False), toy.settings), toy.settings,
            key_of_erasures(toy.settings),
        )  # fmt: skip
        assert await Merges(state).absorb(toy.shop.name, "coffee-2", "tea-1", "customer")
        await state.close()

    async def ends():
        state = LiveState(
            connect(StateServer(toy.settings.redis_url, embedded=False), toy.settings), toy.settings,
            key_of_erasures(toy.settings),
        )  # fmt: skip
        found = [(await state.read(toy.shop.name, name)).customer_id for name in ("o1", "coffee-2")]
        await state.close()
        return found

    asyncio.run(begin())
    asyncio.run(_keep(toy))
    assert asyncio.run(ends()) == ["tea-1", "tea-1"]
    links = lake.scan("identities").select("id_value", "customer_id").unique().sort("id_value").collect().rows()
    assert links == [("coffee-2", "tea-1"), ("o1", "tea-1")]


def test_identities_of_a_file_are_merged_at_once_and_the_strictest_word_is_in_the_lake(
    toy, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("POND_REDIS_URL", toy.settings.redis_url)
    for name in ("CONNECT_MS", "READ_MS", "WRITE_MS"):
        monkeypatch.setenv(f"POND_{name}", "10000")
    identities, consents = tmp_path / "ids.csv", tmp_path / "consents.csv"
    identities.write_text(
        "id_type,id_value,customer_id\nopenid,o1,tea-1\nphone,p1,o1\nopenid,o1x,coffee-1\nphone,tea-1,p1\nphone,o1x,tea-1\n"
    )
    consents.write_text(
        "customer_id,purpose,at,state\no1,personalization,2025-03-01,off\ntea-1,personalization,2025-03-02,on\n"
    )
    ingest = ["--home", str(toy.settings.home), "--quiet", "ingest", "--shop", toy.shop.name]
    assert pond([*ingest, "--identities", str(identities), "--consents", str(consents)]) == 0
    said = capsys.readouterr().err
    assert "1 identities were not taken up: the customer is another id of this one" in said
    assert "1 identities were not taken up: the id belongs to another customer already" in said
    assert Lake(toy.shop.lake_dir).scan("identities").collect().height >= 4
    dataset = build_dataset(Lake(toy.shop.lake_dir), toy.shop.name, worlds.TIMEZONE)
    assert dict(dataset.refused) == {"tea-1": dataset.refused["tea-1"]}
    with serving.served(toy) as client:
        stranger = shown(recommend(client, "nobody", scene="rebuy"))
        for name in ("o1", "p1", "tea-1"):
            assert shown(recommend(client, name, scene="rebuy")) == stranger
        client.put("/v1/customers/p1/consent", json={"purpose": "personalization", "state": "on"})
        assert repeats(recommend(client, "o1", scene="rebuy")) == TEAS
        assert pond([*ingest, "--identities", str(identities), "--consents", str(consents)]) == 0
        assert repeats(recommend(client, "o1", scene="rebuy")) == TEAS


def test_a_batch_answers_any_id_from_the_history_of_all(models):
    links = worlds.rows_of("identities", [
        {"id_type": "customer", "id_value": "coffee-2", "customer_id": "tea-1"},
        {"id_type": "openid", "id_value": "o1", "customer_id": "coffee-2"},
    ])  # fmt: skip
    later = worlds.events([("o1", "tea1", 41)])
    lake = worlds.ToyTables({"identities": links, "events": later})
    names = ("tea-1", "coffee-2", "o1")
    rows = [CustomerRow(name, at=worlds.day(42)) for name in names]
    frame = recommend_batch(models, rows, "rebuy", 20, lake=lake, workers=1).frame
    for name in names:
        mine = frame.filter((pl.col("customer_id") == name) & ~pl.col("stage").str.starts_with("fallback"))
        assert set(mine["item_id"]) == TEAS | COFFEES | {"tea1"}
    consents = worlds.rows_of(
        "consents", [{"customer_id": "o1", "purpose": "personalization", "at": worlds.day(50), "state": "off"}]
    )
    obeying = worlds.ToyTables({"identities": links, "events": later, "consents": consents})
    frame = recommend_batch(models, [CustomerRow("tea-1")], "rebuy", 5, lake=obeying, workers=1).frame
    assert frame.is_empty()


@pytest.mark.parametrize("is_cut", [False, True])
def test_what_the_keeper_merged_into_other_parts_before_it_was_brought_is_brought_all_the_same(toy, is_cut):
    lake = Lake(toy.shop.lake_dir)
    for name in ("o1", "o2"):
        row = {"id_type": "openid", "id_value": name, "customer_id": "tea-1"}
        lake.append("identities", pl.DataFrame([row], schema=table_named("identities").schema), source="ids.csv")
    with serving.served(toy) as client:
        say = {"purpose": "personalization", "state": "off"}
        assert client.put("/v1/customers/o4/consent", json=say).status_code == 200
        for name in ("o3", "o4"):
            row = {"id_type": "openid", "id_value": name, "customer_id": "tea-1"}
            lake.append("identities", pl.DataFrame([row], schema=table_named("identities").schema), source="ids.csv")
        assert lake.compact("identities") is not None
        if is_cut:
            assert lake.compact("identities", restate=True, cut_after_s=-1) is not None
            assert len(lake.sweep("identities")) == 4
        asyncio.run(_keep(toy))
        assert client.get("/v1/customers/tea-1").json()["personalization"] == "off"  # a merge takes it along
        for name in ("o1", "o2", "o3", "o4"):
            assert client.get(f"/v1/customers/{name}").json()["customer_id"] == "tea-1"


@pytest.mark.parametrize("is_compacted", [False, True])
def test_what_a_person_said_after_a_merge_outlives_a_lost_state_server(toy, is_compacted):
    say = {"purpose": "personalization"}
    with serving.served(toy) as client:
        client.put("/v1/customers/o1/consent", json=say | {"state": "off", "at": "2025-03-01"})
        client.put("/v1/customers/tea-1/consent", json=say | {"state": "on", "at": "2025-03-02"})
        link(client, "o1", "tea-1")
        assert client.get("/v1/customers/tea-1").json()["personalization"] == "off"
        client.put("/v1/customers/o1/consent", json=say | {"state": "on", "at": "2025-03-03"})
        link(client, "o2", "coffee-2")
        client.put("/v1/customers/o2/consent", json=say | {"state": "off", "at": "2025-03-03"})
        asyncio.run(_keep(toy))
        if is_compacted:
            for table in ("identities", "consents"):
                Lake(toy.shop.lake_dir).compact(table)
        with redis.Redis.from_url(toy.settings.redis_url) as server:
            for key in server.scan_iter(match=f"pond:v1:{{{toy.shop.name}:*"):
                server.delete(key)
        assert repeats(recommend(client, "o1", scene="rebuy")) == TEAS
        assert repeats(recommend(client, "o2", scene="rebuy")) == set()
        assert client.get("/v1/customers/o1/consent").json()["customer_id"] == "tea-1"
    assert dict(build_dataset(Lake(toy.shop.lake_dir), toy.shop.name, worlds.TIMEZONE).refused).keys() == {"coffee-2"}
