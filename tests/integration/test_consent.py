"""Personalization off, as the application keeps it: nothing read, tried out or learned, from the next request on."""

import time

import polars as pl
import pytest
import redis

from features.contracts import table_named
from features.dataset import build_dataset
from features.lake import Lake
from pond.cli.main import main as pond
from service import guardian
from tests import serving, worlds

OFF = {"purpose": "personalization", "state": "off"}
SCENES = ("home", "rebuy", "discover", "next_basket", "popular", "new", "cart")


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


@pytest.fixture
def opened(tmp_path, state_server, models, shop):
    """Serves a shop of its own; settings are those of `open_toy_shop`."""

    def opened(**settings):
        toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url, **settings)
        toy.publish(models, "r1")
        return toy

    return opened


def recommend(client, customer, **more):
    answer = client.post("/v1/recommend", json={"customer_id": customer, "k": 6} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown(answer):
    """Everything a customer could see of an answer."""
    return [(i["item_id"], i["score"], i["stage"], i["reason"]) for i in answer["items"]]


def say(client, customer, **said):
    answer = client.put(f"/v1/customers/{customer}/consent", json=OFF | said)
    assert answer.status_code == 200, answer.text


def tell(client, customer, item, event_id, kind="purchase"):
    event = {"event_id": event_id, "customer_id": customer, "kind": kind, "at": time.time(), "item_id": item}
    assert client.post("/v1/events", json={"events": [event]}).status_code == 202


def body_of(client, answer):
    return client.get(f"/v1/decisions/{answer['decision_id']}").json()["body"]


def test_all_who_switched_it_off_get_one_list_and_it_is_the_strangers(opened):
    with serving.served(opened()) as client:
        for n, customer in enumerate(("tea-1", "coffee-2")):
            client.put(f"/v1/customers/{customer}", json={"attributes": {"region": f"r{n}"}})
            tell(client, customer, ("tea2", "coffee3")[n], f"e{n}")
            say(client, customer)
            tell(client, customer, ("tea3", "coffee4")[n], f"f{n}")
        for scene in SCENES:
            context = {"basket": ["bread"]} if scene == "cart" else {}
            ask = lambda who, scene=scene, context=context: recommend(client, who, scene=scene, context=context)  # noqa: E731
            stranger, one, two = (ask(who) for who in ("nobody", "tea-1", "coffee-2"))
            assert shown(one) == shown(two) == shown(stranger), scene
            assert bool(shown(one)) is (scene != "rebuy")  # which shows only what was bought: to a stranger, nothing
            assert one["degraded"] == two["degraded"] == [*one["degraded"][:1], *stranger["degraded"]]
            assert "switched personalization off" in one["degraded"][0]
        similar = {"item_ids": ["tea1"], "k": 4}
        answers = [
            client.post("/v1/similar", json=similar | {"customer_id": who}).json() for who in ("tea-1", "nobody")
        ]
        assert shown(answers[0]) == shown(answers[1])


def test_who_switched_it_off_takes_part_in_no_chance_and_nothing_is_learned_from_him(opened):
    with serving.served(opened(explore_share=1.0)) as client:
        say(client, "tea-1")
        say(client, "coffee-2")
        lists = [shown(recommend(client, who)) for who in ("tea-1", "coffee-2") for _ in range(5)]
        assert all(one == lists[0] for one in lists)
        assert "explore" not in {stage for _, _, stage, _ in lists[0]}
        off, on = (body_of(client, recommend(client, who)) for who in ("tea-1", "tea-2"))
        assert (off["learn"], off["explore"], off["read"]["status"]) == (False, {"share": 0.0, "seed": None}, "off")
        assert {place["propensity"] for place in off["slate"]} == {1.0}
        assert (on["learn"], on["explore"]["share"]) == (True, 1.0)
        assert {place["stage"] for place in on["slate"][-2:]} == {"explore"}


def test_what_was_just_looked_at_is_left_aside_and_the_basket_is_what_is_asked_about(opened):
    with serving.served(opened()) as client:
        say(client, "tea-1")
        say(client, "coffee-2")
        looked = recommend(client, "tea-1", context={"recent": ["coffee1", "coffee3"]})
        assert shown(looked) == shown(recommend(client, "tea-1")) == shown(recommend(client, "coffee-2"))
        basket = {"scene": "cart", "context": {"basket": ["tea0", "tea1"]}}
        mine, theirs = recommend(client, "tea-1", **basket), recommend(client, "coffee-2", **basket)
        assert shown(mine) == shown(theirs)
        assert shown(mine) != shown(recommend(client, "tea-1", scene="cart", context={"basket": ["coffee0"]}))
        assert not {"tea0", "tea1"} & {item for item, *_ in shown(mine)}


def test_on_again_history_is_used_at_once_and_the_next_training_hears_of_it(opened):
    toy = opened()
    with serving.served(toy) as client:
        before = recommend(client, "tea-2", scene="rebuy")
        say(client, "tea-2")
        assert shown(recommend(client, "tea-2", scene="rebuy")) != shown(before)
        tell(client, "tea-2", "coffee1", "e-off")
        say(client, "tea-2", state="on")
        after = recommend(client, "tea-2", scene="rebuy", k=20)
        assert {"coffee1"} | {item for item, _, stage, _ in shown(before) if stage == "repeat"} == {
            item for item, _, stage, _ in shown(after) if stage == "repeat"
        }


def test_all_consents_are_shown_with_moment_and_source_and_whether_a_message_may_go_out(opened):
    with serving.served(opened()) as client:
        say(
            client,
            "ann",
            purpose="marketing",
            channel="sms",
            state="on",
            at="2025-03-01T09:00:00+08:00",
            source="form 7",
        )
        say(client, "ann", purpose="marketing", channel="push", at="2025-03-02T09:00:00+08:00")
        say(client, "ann", at="2025-03-03T09:00:00+08:00", source="settings page")
        ask = lambda **asked: client.get("/v1/customers/ann/consent", params=asked).json()  # noqa: E731
        told = ask()
        assert (told["customer_id"], told["personalization"], told["may_touch"]) == ("ann", "off", None)
        assert [tuple(said.values()) for said in told["consents"]] == [
            ("marketing", "push", "off", "2025-03-02T01:00:00+00:00", ""),
            ("marketing", "sms", "on", "2025-03-01T01:00:00+00:00", "form 7"),
            ("personalization", None, "off", "2025-03-03T01:00:00+00:00", "settings page"),
        ]
        allowed = {on: ask(purpose="marketing", channel=on)["may_touch"] for on in ("sms", "push", "wecom")}
        assert allowed == {"sms": True, "push": False, "wecom": False}
        assert client.get("/v1/customers/new/consent").json()["consents"] == []
        say(client, "ann", purpose="marketing", at="2025-03-04T09:00:00+08:00")
        assert ask(purpose="marketing", channel="sms")["may_touch"] is False


def put_in_lake(toy, table, rows, **commit):
    frame = pl.DataFrame(rows, schema=table_named(table).schema)
    Lake(toy.shop.lake_dir).append(table, frame, **commit)


def refusal(customer, at=None, state="off"):
    at = worlds.day(41) if at is None else at
    return {"customer_id": customer, "purpose": "personalization", "at": at, "state": state}


def empty_state(toy):
    with redis.Redis.from_url(toy.settings.redis_url) as server:
        for key in server.scan_iter(match=f"pond:v1:{{{toy.shop.name}:*"):
            server.delete(key)


def test_a_state_server_that_lost_everything_turns_no_refusal_into_consent(opened):
    toy = opened()
    put_in_lake(toy, "consents", [refusal("tea-1")], source="before.csv")
    with serving.served(toy) as client:
        stranger = shown(recommend(client, "nobody"))
        assert shown(recommend(client, "tea-1")) == stranger
        # Said over HTTP, drained since: it stands in the lake under a commit of the journal.
        say(client, "coffee-2", at=worlds.day(42) / 1e6)
        put_in_lake(
            toy, "consents", [refusal("coffee-2", worlds.day(42))], meta={"journal": {"0": ["e", "1-0", "2-0"]}}
        )
        put_in_lake(toy, "consents", [refusal("tea-1", state="on", at=worlds.day(40))], source="old.csv")
        empty_state(toy)
        tell(client, "coffee-2", "coffee3", "after")
        assert shown(recommend(client, "coffee-2")) == shown(recommend(client, "tea-1")) == stranger
        assert shown(recommend(client, "tea-2")) != stranger


def test_a_lake_that_cannot_tell_who_refused_leaves_everybody_a_stranger(opened):
    toy = opened()
    put_in_lake(toy, "consents", [refusal("tea-1")], source="before.csv")
    with serving.served(toy) as client:
        personal = shown(recommend(client, "tea-2", scene="rebuy"))
        empty_state(toy)
        (log,) = (toy.shop.lake_dir / "consents" / "_log").glob("*.json")
        kept = log.read_bytes()
        log.write_bytes(b"{}")
        answer = recommend(client, "tea-2", scene="rebuy")
        assert "nothing personal is shown" in answer["degraded"][0]
        assert shown(answer) != personal
        log.write_bytes(kept)
        assert shown(recommend(client, "tea-2", scene="rebuy")) == personal


def test_a_release_alone_remembers_who_had_refused(opened):
    toy = opened()
    rows = [("ann", "tea", 1), ("bob", "tea", 1), ("bob", "milk", 2), ("cid", "milk", 2)]
    dataset = worlds.world(rows, consents=[refusal("ann", worlds.day(3)), refusal("cid", worlds.day(3))])
    toy.publish(serving.fitted(dataset), "r2")
    with serving.served(toy) as client:
        for event_id, who in (("a", "ann"), ("c", "cid"), ("n", "new")):
            tell(client, who, "milk", event_id)
        say(client, "cid", state="on")  # a later word lifts it
        bought = {
            who: [item for item, *_ in shown(recommend(client, who, scene="rebuy"))] for who in ("ann", "cid", "new")
        }
        assert bought == {"ann": [], "cid": ["milk"], "new": ["milk"]}
        assert client.get("/v1/customers/ann").json()["personalization"] == "off"


@pytest.fixture
def cli(monkeypatch):
    def run(toy, *words):
        monkeypatch.setenv("POND_REDIS_URL", toy.settings.redis_url)
        for name in ("CONNECT_MS", "READ_MS", "WRITE_MS"):
            monkeypatch.setenv(f"POND_{name}", "10000")
        return pond(["--home", str(toy.settings.home), "--quiet", *words])

    return run


def test_words_and_profiles_of_a_file_hold_on_the_next_request_of_a_running_service(opened, cli, tmp_path):
    toy = opened()
    file = tmp_path / "consents.csv"
    file.write_text(
        "customer_id,purpose,channel,at,state,source\n"
        "tea-1,personalization,,2025-03-01,off,call 12\n"
        "tea-2,personalization,,2025-03-01,off,\ntea-2,personalization,,2025-03-02,on,\n"
        "tea-3,marketing,sms,2025-03-01,on,form\n"
    )
    profiles = tmp_path / "customers.csv"
    profiles.write_text(
        'customer_id,attributes\ntea-2,"{""region"":""coast""}"\ntea-3,"{""region"":""tealand"",""tier"":""gold""}"\n'
    )
    with serving.served(toy) as client:
        stranger = shown(recommend(client, "nobody"))
        assert shown(recommend(client, "tea-1")) != stranger
        for _ in range(2):  # a file that comes twice changes nothing the second time
            assert (
                cli(toy, "ingest", "--shop", toy.shop.name, "--consents", str(file), "--customers", str(profiles)) == 0
            )
            assert shown(recommend(client, "tea-1")) == stranger
            assert shown(recommend(client, "tea-2")) != stranger
        (said,) = client.get("/v1/customers/tea-1/consent").json()["consents"]
        assert (said["state"], said["source"]) == ("off", "call 12")
        asked = {"purpose": "marketing", "channel": "sms"}
        assert client.get("/v1/customers/tea-3/consent", params=asked).json()["may_touch"] is True
        assert client.get("/v1/customers/tea-2").json()["attributes"] == {"region": "coast"}
        # What the shop said over HTTP since is newer than what a file repeats.
        say(client, "tea-1", state="on", at="2025-03-03T00:00:00+08:00")
        assert cli(toy, "ingest", "--shop", toy.shop.name, "--consents", str(file)) == 0
        assert shown(recommend(client, "tea-1")) != stranger
    assert Lake(toy.shop.lake_dir).rows("consents") == 5  # four of the file, one of HTTP, drained by the command


def test_a_state_server_that_is_away_leaves_the_rows_in_the_lake_and_says_so(opened, monkeypatch, tmp_path, capsys):
    toy = opened()
    file = tmp_path / "consents.csv"
    file.write_text("customer_id,purpose,at,state\ntea-1,personalization,2025-03-01,off\n")
    monkeypatch.setenv("POND_REDIS_URL", f"unix://{tmp_path}/nobody")
    assert pond(["--home", str(toy.settings.home), "ingest", "--shop", toy.shop.name, "--consents", str(file)]) == 6
    assert "state server" in capsys.readouterr().err
    dataset = build_dataset(Lake(toy.shop.lake_dir), toy.shop.name, worlds.TIMEZONE)
    assert "tea-1" in dataset.refused
    with serving.served(toy) as client:  # the service brings what the command could not
        assert shown(recommend(client, "tea-1")) == shown(recommend(client, "nobody"))


def test_without_a_running_service_the_command_starts_the_embedded_server_and_stops_it_again(tmp_path, models):
    toy = serving.open_toy_shop(tmp_path, "own")
    toy.publish(models, "r1")
    file = tmp_path / "consents.csv"
    file.write_text("customer_id,purpose,at,state\ntea-1,personalization,2025-03-01,off\n")
    assert pond(["--home", str(tmp_path), "--quiet", "ingest", "--shop", "own", "--consents", str(file)]) == 0
    assert not guardian.is_running(toy.settings)
    try:
        with serving.served(toy) as client:
            (said,) = client.get("/v1/customers/tea-1/consent").json()["consents"]
            assert said["state"] == "off"
            # Beside a service that runs, the command joins its server and leaves it alone.
            file.write_text("customer_id,purpose,at,state\ntea-2,personalization,2025-03-01,off\n")
            with guardian.in_use(toy.settings):
                assert (
                    pond(["--home", str(tmp_path), "--quiet", "ingest", "--shop", "own", "--consents", str(file)]) == 0
                )
            assert client.get("/v1/customers/tea-2").json()["personalization"] == "off"
    finally:
        guardian.stop(toy.settings)


def test_a_damaged_lake_keeps_no_release_from_serving_what_is_not_personal(opened):
    toy = opened()
    put_in_lake(toy, "consents", [refusal("tea-1")], source="before.csv")
    (log,) = (toy.shop.lake_dir / "consents" / "_log").glob("*.json")
    log.write_bytes(b"{}")
    with serving.served(toy) as client:
        answer = recommend(client, "tea-2")
        assert answer["items"]
        assert "nothing personal is shown" in answer["degraded"][0]


def test_a_word_said_now_holds_even_if_the_clock_stepped_back_since_the_one_before(opened):
    toy = opened()
    with serving.served(toy) as client:
        say(client, "tea-3", state="on", at=time.time() + 3_600)
        say(client, "tea-3", at=time.time())  # what was said earlier, and says so, changes nothing
        assert client.get("/v1/customers/tea-3").json()["personalization"] == "on"
        say(client, "tea-3")
        assert client.get("/v1/customers/tea-3").json()["personalization"] == "off"
        assert shown(recommend(client, "tea-3", scene="home")) == shown(recommend(client, "a stranger", scene="home"))
