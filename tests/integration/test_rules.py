"""Operators' rules over HTTP, against the real state server: each holds from the next request on."""

import time

import polars as pl
import pytest
import redis

from pond.cli.main import main
from service.control import ControlPlane, Role
from tests import serving

HOME = {"customer_id": "tea-3", "scene": "popular", "k": 4}


@pytest.fixture
def toy(tmp_path, state_server, shop):
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    toy.publish(serving.toy_models(), "r1")
    return toy


@pytest.fixture
def client(toy):
    with serving.served(toy) as client:
        yield client


def ids(client, **more):
    answer = client.post("/v1/recommend", json=HOME | more)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_a_rule_holds_from_the_next_request_until_it_is_ended_and_decisions_name_it(client, toy):
    first = ids(client)[0]
    made = client.put("/v1/rules/no-first", json={"action": "exclude", "item_ids": [first], "note": "recall"})
    assert (made.status_code, made.json()["holds"]) == (200, "now")
    answer = client.post("/v1/recommend", json=HOME).json()
    assert first not in [item["item_id"] for item in answer["items"]]
    logged = client.get(f"/v1/decisions/{answer['decision_id']}").json()["body"]["rules"]
    assert logged["held"] == ["no-first"]
    assert client.get("/v1/rules").json()["version"] == f"{logged['version']}-0"
    assert client.delete("/v1/rules/no-first").status_code == 200
    assert ids(client)[0] == first
    assert client.get("/v1/rules/no-first").status_code == client.delete("/v1/rules/no-first").status_code == 404
    told = [(row["action"], row["details"]["rule"]) for row in client.get("/v1/admin/audit").json()["entries"]
            if row["action"].startswith("rule.")]  # fmt: skip
    assert told == [("rule.end", "no-first"), ("rule.put", "no-first")]


def test_a_rule_may_begin_later_and_speaks_only_of_its_segment(client):
    plain = ids(client)
    later = client.post("/v1/rules", json={"action": "exclude", "item_ids": plain, "starts_at": "2090-01-01T00:00:00Z"})
    assert later.json()["holds"] == "later"
    gold = client.post(
        "/v1/rules", json={"action": "pin", "item_ids": [plain[-1]], "segment": {"club": "moon"}, "scenes": ["popular"]}
    )
    assert gold.json()["rule_id"] != later.json()["rule_id"]
    assert ids(client) == plain
    client.put("/v1/customers/tea-3", json={"attributes": {"club": "moon"}})
    assert ids(client) == [plain[-1], *plain[:-1]]
    client.put("/v1/customers/tea-3/consent", json={"purpose": "personalization", "state": "off", "source": "app"})
    assert ids(client) == plain


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"action": "pin", "category": "drinks"}, "a pin names the items"),
        ({"action": "boost", "item_ids": ["a"], "factor": 0.5}, "does not boost"),
        ({"action": "exclude", "starts_at": 2_000_000_000, "ends_at": 1_900_000_000}, "would never hold"),
        ({"action": "hide"}, "action"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_words(client, body, says):
    answer = client.post("/v1/rules", json=body)
    assert answer.status_code == 422
    assert says in answer.text
    assert client.get("/v1/rules").json()["rules"] == []


def test_rules_survive_the_loss_of_the_live_state_and_of_the_worker(toy, client, state_server):
    first, second = ids(client)[:2]
    client.post("/v1/rules", json={"action": "exclude", "item_ids": [first]})
    assert first not in ids(client)
    with redis.Redis.from_url(state_server.url) as server:
        lost = server.keys(f"pond:v1:{{{toy.shop.name}:*".encode())
        assert lost
        server.delete(*lost)
    assert first not in ids(client)
    client.post("/v1/rules", json={"action": "exclude", "item_ids": [second]})
    assert not {first, second} & set(ids(client))
    control = ControlPlane.open(toy.settings)
    assert control.audit(toy.shop.name)[0].action == "rule.put"
    control.close()
    with serving.served(toy) as another:
        assert first not in ids(another)
        another.headers.update(toy.headers(Role.backend))
        assert another.get("/v1/rules").status_code == 403


def test_what_was_shown_ten_times_without_a_click_rests_until_it_is_clicked(client):
    first, at = ids(client)[0], time.time_ns() // 1000
    events = [
        {"event_id": f"seen-{n}", "customer_id": "tea-3", "kind": "impression", "at": at - n, "item_id": first}
        for n in range(10)
    ]
    client.post("/v1/events", json={"events": events})
    assert first not in ids(client)
    assert first in ids(client, pins=[first])
    click = {"event_id": "click", "customer_id": "tea-3", "kind": "click", "at": at + 1, "item_id": first}
    client.post("/v1/events", json={"events": [click]})
    assert first in ids(client)


def test_a_mixed_slate_over_http_holds_all_kinds_and_a_sold_out_part_takes_its_bundle_away(client):
    client.put("/v1/contents/brewing", json={"title": "How to brew", "form": "article", "product_ids": ["tea1"]})
    client.put("/v1/bundles/two-teas", json={"product_ids": ["tea1", "tea2"], "title": "Two teas", "price": 9})
    mix = {"product": 0.5, "content": 0.25, "bundle": 0.25}
    answer = client.post("/v1/recommend", json=HOME | {"mix": mix}).json()
    assert {item["item_kind"] for item in answer["items"]} == {"product", "content", "bundle"}
    client.put("/v1/products/tea2", json={"title": "tea two", "stock": 0})
    answer = client.post("/v1/recommend", json=HOME | {"mix": mix}).json()
    assert "two-teas" not in [item["item_id"] for item in answer["items"]]
    assert "mix: no bundle to show" in answer["degraded"]
    assert client.post("/v1/recommend", json=HOME | {"scene": "content"}).json()["items"][0]["item_id"] == "brewing"


def test_a_batch_obeys_the_rules_as_the_service_does(toy, client, tmp_path):
    first = ids(client)[0]
    client.post("/v1/rules", json={"action": "exclude", "item_ids": [first], "starts_at": "2020-01-01T00:00:00Z"})
    out = tmp_path / "slates.parquet"
    (tmp_path / "who.csv").write_text("customer_id\ntea-3\n")
    told = ["--shop", toy.shop.name, "--scene", "popular", "--k", "4", "--customers", str(tmp_path / "who.csv")]
    code = main(["--home", str(toy.settings.home), "--quiet", "recommend", *told, "--out", str(out)])
    assert code == 0
    shown = pl.read_parquet(out)["item_id"].to_list()
    assert len(shown) == 4
    assert first not in shown


def test_what_a_rule_names_and_nobody_knows_is_said_and_the_rule_waits_for_it(client):
    told = {
        "action": "exclude",
        "item_ids": ["coffee1", "no-such"],
        "scenes": ["home", "hoem"],
        "segment": {"tier": "x"},
    }
    assert client.put("/v1/rules/slip", json=told).json()["unknown"] == ["scene hoem", "product no-such"]
    by_kind = {"action": "bury", "category": "drinks/te", "brand": "nobody's"}
    assert client.put("/v1/rules/kind", json=by_kind).json()["unknown"] == ["category drinks/te", "brand nobody's"]
    assert client.get("/v1/rules/slip").json()["unknown"] == ["scene hoem", "product no-such"]
    assert client.put("/v1/rules/well", json={"action": "exclude", "category": "drinks"}).json()["unknown"] == []
    wrong = client.put("/v1/rules/wrong", json={"action": "pin", "item_ids": ["a"], "segment": {"value_layer": "rich"}})
    assert wrong.status_code == 422
    assert wrong.json()["detail"].startswith("rule: segment: value_layer is one of high_value,")


def test_a_mix_of_nothing_is_refused_in_words(client):
    refused = client.post("/v1/recommend", json=HOME | {"mix": {"product": 0, "content": 0}})
    assert refused.status_code == 422
    assert "mix gives no kind a share above 0" in refused.json()["detail"]
