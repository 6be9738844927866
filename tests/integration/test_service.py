"""The application in one process over a real state server: what each path promises."""

import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models.slate import Request
from pond.cli.main import main
from service.control import Role
from tests import serving, worlds


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


@pytest.fixture(scope="module")
def toy_shop(tmp_path_factory, state_server, models):
    toy = serving.open_toy_shop(tmp_path_factory.mktemp("pond"), "toy", redis_url=state_server.url, body_bytes=200_000)
    toy.publish(models, "r1")
    return toy


@pytest.fixture(scope="module")
def client(toy_shop):
    with serving.served(toy_shop) as client:
        yield client


def recommend(client, customer, **more):
    answer = client.post("/v1/recommend", json={"customer_id": customer, "k": 5} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def event(event_id, customer, item, kind="purchase", **more):
    return {"event_id": event_id, "customer_id": customer, "kind": kind, "at": "2025-03-01T09:00:00+08:00",
            "item_id": item} | more  # fmt: skip


def problem(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return answer.json()


def test_http_answers_as_the_pipeline_does(client, models):
    for customer in ("tea-3", "coffee-0", "nobody"):
        answer = recommend(client, customer, scene="discover", k=8)
        at = json.loads(client.get(f"/v1/decisions/{answer['decision_id']}").text)["body"]["now"]
        query = models.query(models.customers.ids.idx(customer), at)
        slate = models.pipeline.recommend(Request(query, "discover", 8), models.items)
        assert ids(answer) == [models.items.text(p.item_idx) for p in slate.picks]
        assert [i["score"] for i in answer["items"]] == [p.score for p in slate.picks]
        assert [i["stage"] for i in answer["items"]] == [p.stage for p in slate.picks]
        assert answer["degraded"] == list(slate.degraded)


def test_an_acknowledged_event_changes_the_next_answer(client):
    before = recommend(client, "newcomer", scene="rebuy", k=1)
    assert before["items"] == []
    assert "only what was bought before, and nothing was" in before["degraded"][-1]
    sent = client.post("/v1/events", json={"events": [event("n-1", "newcomer", "coffee2", at=time.time() + 60)]})
    assert sent.status_code == 202
    assert sent.json()["results"] == [{"event_id": "n-1", "result": "stored", "detail": ""}]
    after = recommend(client, "newcomer", scene="rebuy", k=1)
    assert ids(after) == ["coffee2"]
    assert after["items"][0]["reason"]["code"] == "bought_today"


def test_events_are_judged_one_by_one_and_count_once(client):
    now = time.time()
    good = event("j-1", "judge", "tea1", at=now)
    bad = [{"event_id": "j-2"}, event("j-3", "judge", "tea1", kind="dance"), event("j-4", "judge", "x", quantity=-1),
           event("j-5", "judge", "x", at=now + 10**6), "no event"]  # fmt: skip
    sent = client.post("/v1/events", json={"events": [good, *bad]})
    assert sent.status_code == 207
    assert [r["result"] for r in sent.json()["results"]] == ["stored"] + ["invalid"] * 5
    assert client.post("/v1/events", json={"events": [good]}).json()["results"][0]["result"] == "duplicate"
    changed = client.post("/v1/events", json={"events": [good | {"item_id": "tea2"}]})
    assert problem(changed, 409, "event_conflict")["results"][0]["result"] == "conflict"
    refused = client.post("/v1/events", json={"events": bad})
    assert "kind" in problem(refused, 422, "nothing_stored")["results"][1]["detail"]


def test_old_events_are_late(client):
    assert client.post("/v1/events", json={"events": [event("old-1", "late", "tea1")]}).json()["results"][0][
        "result"
    ] == "late"  # fmt: skip


def test_stock_and_status_hold_on_the_very_next_request(client):
    assert "bread" in ids(recommend(client, "nobody", scene="popular"))
    told = {"title": "rye bread", "category": "food/bread"}
    assert client.put("/v1/products/bread", json=told | {"stock": 0}).status_code == 200
    assert "bread" not in ids(recommend(client, "nobody", scene="popular", k=15))
    assert client.get("/v1/products/bread").json()["fields"]["stock"] == 0
    client.put("/v1/products/bread", json=told | {"stock": 3})
    assert "bread" in ids(recommend(client, "nobody", scene="popular"))
    client.delete("/v1/products/bread")
    assert "bread" not in ids(recommend(client, "nobody", scene="popular", k=15))
    client.post("/v1/products/batch", json={"products": [told | {"id": "bread", "stock": 1}]})
    assert "bread" in ids(recommend(client, "nobody", scene="popular"))


def test_what_is_told_of_a_product_holds_although_the_clock_stepped_back(tmp_path, state_server, shop, models):
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    toy.publish(models, "r1")  # trained with a row of tea-new that holds from day 35
    day = [41.0]
    with serving.served(toy, lambda: worlds.day(day[0])) as client:
        is_shown = lambda name: name in ids(recommend(client, "nobody", k=3, pins=[name]))  # noqa: E731
        assert is_shown("tea-new")
        for told in ({"product_id": "bread", "stock": 5}, {"product_id": "fresh", "title": "new"}):
            client.put(f"/v1/products/{told.pop('product_id')}", json=told)
        day[0] = 34.5  # before everything that was said until now
        for stock, wanted in ((0, False), (2, True), (0, False)):
            for name in ("tea-new", "bread", "fresh"):
                assert client.put(f"/v1/products/{name}", json={"stock": stock}).status_code == 200
                assert is_shown(name) == wanted, (name, stock)
        client.put("/v1/products/tea-new", json={"stock": 2})
        assert is_shown("tea-new")
        client.delete("/v1/products/tea-new")
        assert not is_shown("tea-new")
        held = [client.get(f"/v1/products/{name}").json()["fields"] for name in ("tea-new", "bread", "fresh")]
    # The lake tells versions apart by their moments: the next training must find what was said last.
    assert held[0]["valid_from"] > worlds.day(35)
    assert all(fields["valid_from"] > worlds.day(41) for fields in held[1:])


def test_a_product_published_this_moment_reaches_the_right_customers_until_it_is_withdrawn(client):
    told = {"title": "green tea 绿茶 leaves 明前龙井", "category": "drinks/tea", "brand": "tea house"}
    assert client.put("/v1/products/本周新茶", json=told).status_code == 200
    client.put("/v1/products/本周咖啡", json={"category": "drinks/coffee", "brand": "coffee house"})
    for customer, fresh in (("tea-1", "本周新茶"), ("coffee-1", "本周咖啡")):
        first = recommend(client, customer, scene="new", k=2)["items"][0]
        assert (first["item_id"], first["stage"]) == (fresh, "own_kinds")
        assert first["reason"]["code"] == "similar_to"
    stranger = recommend(client, "nobody", scene="new", k=2)
    assert set(ids(stranger)) == {"本周新茶", "本周咖啡"}
    assert {item["stage"] for item in stranger["items"]} == {"newest"}
    like_tea1 = {"item_ids": ["tea1"], "k": 9}
    assert "本周新茶" in ids(client.post("/v1/similar", json=like_tea1).json())
    of_it = client.post("/v1/similar", json={"item_ids": ["本周新茶"], "k": 3}).json()
    assert {item["item_id"][:3] for item in of_it["items"]} == {"tea"}
    assert {item["stage"] for item in of_it["items"]} == {"content_based"}
    client.put("/v1/products/本周新茶", json=told | {"status": "hidden"})
    assert "本周新茶" not in ids(recommend(client, "tea-1", scene="new", k=15))
    assert "本周新茶" not in ids(client.post("/v1/similar", json=like_tea1).json())
    client.put("/v1/products/本周新茶", json=told)
    assert recommend(client, "tea-1", scene="new", k=1)["items"][0]["item_id"] == "本周新茶"
    for product in ("本周新茶", "本周咖啡"):
        client.delete(f"/v1/products/{product}")
    assert not {"本周新茶", "本周咖啡"} & set(ids(recommend(client, "tea-1", scene="new", k=15)))
    assert "本周新茶" not in ids(client.post("/v1/similar", json=like_tea1).json())


def test_similar_starts_from_the_named_products_only(client):
    answer = client.post("/v1/similar", json={"item_ids": ["tea1"], "k": 3}).json()
    assert {item[:3] for item in ids(answer)} == {"tea"}
    assert "tea1" not in ids(answer)
    for_coffee = client.post("/v1/similar", json={"item_ids": ["tea1"], "k": 3, "customer_id": "coffee-1"}).json()
    assert ids(for_coffee) == ids(answer)
    unknown = client.post("/v1/similar", json={"item_ids": ["no-such"], "k": 3}).json()
    assert {item["stage"] for item in unknown["items"]} == {"fallback:popular"}


def test_personalization_off_reads_nothing_and_on_again_does(client):
    personal = recommend(client, "tea-2", scene="rebuy", k=3)
    assert {item["stage"] for item in personal["items"]} == {"repeat"}
    off = {"purpose": "personalization", "state": "off"}
    assert client.put("/v1/customers/tea-2/consent", json=off).status_code == 200
    answer = recommend(client, "tea-2", scene="rebuy", k=3)
    assert answer["items"] == []
    assert "switched personalization off" in answer["degraded"][0]
    answer = recommend(client, "tea-2", scene="next_basket", k=3)
    assert {item["stage"] for item in answer["items"]} == {"popular"}
    assert "switched personalization off" in answer["degraded"][0]
    seen = client.get("/v1/customers/tea-2").json()
    assert (seen["personalization"], seen["attributes"], seen["recent"]) == ("off", {}, [])
    client.put("/v1/customers/tea-2/consent", json=off | {"state": "on"})
    assert ids(recommend(client, "tea-2", scene="rebuy", k=3)) == ids(personal)


def test_a_customer_is_shown_as_a_decision_would_see_him(client):
    client.put("/v1/customers/a%2Fb 顾客", json={"attributes": {"tier": "gold", "points": 7, "vip": True}})
    client.post("/v1/events", json={"events": [event("c-1", "a/b 顾客", "tea1", "view", at=time.time())]})
    seen = client.get("/v1/customers/a%2Fb 顾客").json()
    assert seen["customer_id"] == "a/b 顾客"
    assert seen["attributes"] == {"tier": "gold", "points": "7", "vip": "true"}  # as training reads them
    assert [(e["kind"], e["item_id"]) for e in seen["recent"]] == [("view", "tea1")]
    problem(client.get("/v1/customers/never-seen"), 404, "not_found")
    assert client.get("/v1/customers/tea-1").json()["attributes"] == {"region": "tealand", "tier": "gold"}


def test_every_answer_is_logged_with_what_a_replay_needs(client):
    answer = recommend(client, "tea-1", k=4, context={"channel": "app", "basket": ["tea0"]}, exclude=["bread"])
    told = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    body = told["body"]
    assert (told["customer_id"], told["scene"], told["release"]) == ("tea-1", "home", "r1")
    assert [place["item_id"] for place in body["slate"]] == ids(answer)
    assert [place["propensity"] for place in body["slate"]] == [1.0] * 4
    assert body["request"]["context"] == {"channel": "app", "basket": ["tea0"]}
    assert {"now", "config", "catalogue", "read", "explore", "degraded", "assignments"} <= body.keys()
    problem(client.get("/v1/decisions/00000000000000000000000000000"), 404, "not_found")
    problem(client.get("/v1/decisions/zzz"), 404, "not_found")


def test_pins_filters_baskets_and_what_was_just_seen(client):
    answer = recommend(client, "tea-1", pins=["coffee1"], filters={"category": "drinks"}, context={"basket": ["tea0"]})
    assert answer["items"][0] | {"reason": 0} == {
        "item_kind": "product", "item_id": "coffee1", "score": 0.0, "reason": 0, "stage": "pin",
    }  # fmt: skip
    assert not {"tea0", "bread"} & set(ids(answer))
    unknown = recommend(client, "tea-1", pins=["no-such-item", "tea1"])
    assert unknown["items"][0]["item_id"] == "tea1"
    assert "pinned but not in the catalogue: no-such-item" in unknown["degraded"]
    seen = recommend(client, "looker", k=2, context={"recent": ["coffee3"]})
    assert "coffee3" in ids(seen)
    mixed = recommend(client, "looker", mix={"content": 0.5, "product": 0.5})
    assert "mix: no content to show" in mixed["degraded"]


def test_a_batch_answers_each_question_as_if_alone(client):
    queries = [
        {"customer_id": "tea-1", "k": 3},
        {"customer_id": "x", "scene": "none"},
        {"customer_id": "tea-1", "k": 3},
    ]
    results = client.post("/v1/recommend/batch", json={"queries": queries}).json()["results"]
    alone = recommend(client, "tea-1", k=3)
    assert results[0]["answer"]["items"] == alone["items"] == results[2]["answer"]["items"]
    assert results[1]["problem"]["code"] == "unknown_scene"
    assert results[0]["answer"]["decision_id"] != results[2]["answer"]["decision_id"]


def test_mistakes_are_told_plainly(client):
    scenes = problem(client.post("/v1/recommend", json={"customer_id": "a", "scene": "no"}), 404, "unknown_scene")
    assert "home" in scenes["scenes"]
    problem(client.post("/v1/recommend", json={"customer_id": "a", "k": 201}), 422, "limit_exceeded")
    wrong = problem(client.post("/v1/recommend", json={"customer_id": "a", "k": 1001}), 422, "invalid_request")
    assert wrong["errors"][0]["field"] == "k"
    problem(client.post("/v1/recommend", json={"customer_id": "a", "colour": 1}), 422, "invalid_request")
    broken = client.post("/v1/recommend", content=b'{"customer_id":', headers={"Content-Type": "application/json"})
    problem(broken, 400, "unreadable")
    half = b'{"customer_id": "\\ud800"}'
    problem(client.post("/v1/recommend", content=half, headers={"Content-Type": "application/json"}), 422,
            "invalid_request")  # fmt: skip
    problem(client.get("/v1/nothing"), 404, "no_such_path")
    problem(client.get("/v1/recommend"), 405, "method_not_allowed")
    problem(client.post("/v1/events", content=b"x" * 200_001), 413, "body_too_large")
    problem(client.post("/v1/events", content=iter([b"x" * 100_000] * 3)), 413, "body_too_large")


def test_keys_open_what_their_role_allows(client, toy_shop):
    problem(client.post("/v1/recommend", json={"customer_id": "a"}, headers={"Authorization": ""}), 401,
            "unauthenticated")  # fmt: skip
    backend = toy_shop.headers(Role.backend)
    assert client.post("/v1/recommend", json={"customer_id": "a"}, headers=backend).status_code == 200
    problem(client.get("/v1/admin/releases", headers=backend), 403, "forbidden")
    problem(client.get("/v1/decisions/x", headers=backend), 403, "forbidden")


def test_headers_health_metrics_and_documentation(client):
    answer = client.post("/v1/recommend", json={"customer_id": "a"}, headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    odd = client.get("/health/live", headers={"X-Request-ID": "bad id!"})
    assert odd.headers["x-request-id"] != "bad id!"
    assert client.get("/health/ready").json() == {"ready": True, "missing": [], "degraded": []}
    text = client.get("/metrics").text
    assert 'pond_requests_total{method="POST",path="/v1/recommend",status="200"}' in text
    assert 'pond_release_serving{release="r1",shop="toy"} 1.0' in text
    assert "tea-1" not in text
    assert 'path="/v1/customers/{customer_id:path}"' in text
    document = client.get("/openapi.json").json()
    assert document["components"]["schemas"]["EventIn"]["properties"]["at"]["description"]
    for path, methods in document["paths"].items():
        assert all(method.get("summary") for method in methods.values()), path
    for name, schema in document["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            assert told.get("description") or name in ("HTTPValidationError", "ValidationError"), f"{name}.{field}"


def test_a_broken_pond_toml_is_told_by_health_while_the_shop_serves_on(client, toy_shop, tmp_path, state_server):
    file = toy_shop.shop.config_file
    written = file.read_text()
    ready = lambda: client.get("/health/ready").json()  # noqa: E731
    fresh = serving.open_toy_shop(tmp_path, "fresh", redis_url=state_server.url)
    fresh.shop.config_file.write_text(fresh.shop.config_file.read_text() + 'low_stock = "a few"\n')
    try:
        for line, said in (("low_stock = -3", "pond.toml: shop.low_stock is a number from 0"),
                           ("low_stock = ", "pond.toml: is not valid TOML")):  # fmt: skip
            file.write_text(f"{written}{line}\n")
            assert recommend(client, "tea-1")["items"]
            (why,) = ready()["degraded"]
            assert why.startswith(f"shop toy: {said}")
            assert why.endswith("Until then it serves as before")
            assert str(tmp_path.parent) not in why
            assert client.get("/health/ready").status_code == 200
    finally:
        file.write_text(written)
    assert ready() == {"ready": True, "missing": [], "degraded": []}
    with serving.served(fresh) as other:  # what never was readable cannot serve, and says as plainly why
        answer = other.get("/health/ready")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert answer.json()["missing"][0].startswith("shop fresh: pond.toml: shop.low_stock is a number")


def test_contents_and_bundles_are_kept(client):
    client.put("/v1/contents/c1", json={"title": "How to brew", "product_ids": ["tea1"], "starts_at": "2025-01-01"})
    got = client.get("/v1/contents/c1").json()
    assert got["fields"]["starts_at"] == 1_735_660_800_000_000  # midnight in Shanghai
    client.delete("/v1/contents/c1")
    assert client.get("/v1/contents/c1").json()["fields"]["expires_at"] > 0
    client.post("/v1/bundles/batch", json={"bundles": [{"id": "b1", "product_ids": ["tea1", "bread"]}]})
    client.delete("/v1/bundles/b1")
    assert client.get("/v1/bundles/b1").json()["fields"]["status"] == "deleted"
    problem(client.put("/v1/bundles/b2", json={"product_ids": []}), 422, "invalid_request")
    problem(client.get("/v1/contents/none"), 404, "not_found")


def wait_for(question, wanted, seconds=20):
    deadline = time.monotonic() + seconds
    while (found := question()) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"
        time.sleep(0.05)


def test_releases_are_promoted_rolled_back_and_refused_when_damaged(client, toy_shop, models):
    serves = lambda: recommend(client, "tea-1")["release"]  # noqa: E731
    toy_shop.publish(models, "r2")
    wait_for(serves, "r2")
    assert client.post("/v1/admin/releases/rollback").json()["current"] == "r1"
    wait_for(serves, "r1")
    assert client.post("/v1/admin/releases/r2/promote").json()["current"] == "r2"
    wait_for(serves, "r2")
    toy_shop.publish(models, "r3", shop="another")
    wait_for(lambda: client.get("/health/ready").json()["degraded"][:1],
             ["shop toy: release r3 was refused, the one before serves"])  # fmt: skip
    assert serves() == "r2"
    assert 'pond_reload_failures_total{shop="toy"} 1.0' in client.get("/metrics").text
    problem(client.post("/v1/admin/releases/nope/promote"), 409, "release")
    client.post("/v1/admin/releases/rollback")
    wait_for(lambda: client.get("/health/ready").json()["degraded"], [])
    shutil.rmtree(toy_shop.shop.releases_dir / "r3")
    listed = client.get("/v1/admin/releases").json()
    assert [r["release_id"] for r in listed["releases"]] == ["r1", "r2"]
    assert (listed["serving"], listed["damaged"]) == ("r2", [])


def test_a_damaged_manifest_is_listed_with_its_reason_and_hides_no_other_release(client, toy_shop, capsys):
    whole = toy_shop.shop.releases_dir / "r1"
    for name, text in (("bad-1", "{"), ("bad-2", None), ("bad-3", (whole / "manifest.json").read_text())):
        shutil.copytree(whole, toy_shop.shop.releases_dir / name)
        path = toy_shop.shop.releases_dir / name / "manifest.json"
        path.unlink() if text is None else path.write_text(text)
    wanted = {
        "bad-1": "its manifest.json is not a manifest (JSONDecodeError)", "bad-2": "it has no manifest.json",
        "bad-3": "its manifest.json is the manifest of another release, r1",
    }  # fmt: skip
    try:
        for listed in (client.get("/v1/admin/releases"), client.post("/v1/admin/releases/r2/promote")):
            assert {one["release_id"]: one["why"] for one in listed.json()["damaged"]} == wanted
            assert {"r1", "r2"} <= {one["release_id"] for one in listed.json()["releases"]}
        assert main(["releases", "--shop", "toy", "--home", str(toy_shop.settings.home)]) == 0
        said = capsys.readouterr().out
        lines = [" ".join(line.split()) for line in said.splitlines()]
        assert [f"damaged {name}" for name in wanted if not any(f"damaged {name} " in line for line in lines)] == []
        assert " r1 " in said
        assert "serves r2" in " ".join(said.split())
    finally:
        for name in wanted:
            shutil.rmtree(toy_shop.shop.releases_dir / name)


def test_a_shop_without_a_release_or_without_products_says_so(tmp_path, state_server, shop):
    empty = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    with serving.served(empty) as client:
        problem(client.post("/v1/recommend", json={"customer_id": "a"}), 503, "no_release")
        assert client.get("/health/ready").status_code == 503
        sent = client.post("/v1/events", json={"events": [event("e", "a", "tea1", at=time.time())]})
        assert sent.status_code == 202
        bare = worlds.world(as_of=1)
        empty.publish(serving.fitted(bare, ("popular",)), "r0")
        wait_for(lambda: client.post("/v1/recommend", json={"customer_id": "a"}).status_code, 200)
        answer = recommend(client, "a", scene="popular")
        assert answer["items"] == []


def test_explored_places_are_logged_with_their_odds(tmp_path, state_server, shop, models):
    toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url, explore_share=1.0)
    toy.publish(models, "r1")
    with serving.served(toy) as client:
        answer = recommend(client, "tea-1", k=4)
        places = client.get(f"/v1/decisions/{answer['decision_id']}").json()["body"]["slate"]
        assert [p["propensity"] < 1 for p in places] == [False, False, True, True]
        assert {p["stage"] for p in places[2:]} == {"explore"}


def test_odd_bodies_and_paths_are_mistakes_of_the_caller_not_ours(client):
    as_json = {"Content-Type": "application/json"}
    bodies = [b"[" * 50_000, b'{"customer_id": "a", "k": 1' + b"0" * 5_000 + b"}", b"null", b"[]", b"\xff\xfe",
              b'{"customer_id": "a", "filters": {"price_min": NaN}}', b""]  # fmt: skip
    for path in ("/v1/recommend", "/v1/similar", "/v1/events", "/v1/recommend/batch", "/v1/products/batch"):
        for body in bodies:
            answer = client.post(path, content=body, headers=as_json)
            assert answer.status_code in (400, 422), (path, body[:40], answer.text)
    strange = event("odd", "odd", "tea1", props={"a": "\ud800", "b": 10**30})
    sent = client.post("/v1/events", content=json.dumps({"events": [strange]}), headers=as_json)
    assert problem(sent, 422, "nothing_stored")["results"][0]["detail"].startswith("props")
    for path in ("/v1/products/%00", "/v1/customers/" + "x" * 257, "/v1/products/"):
        assert client.get(path).status_code == 422
    problem(client.post("/v1/admin/releases/..%2F..%2Fx/promote"), 422, "invalid_request")
    problem(client.post("/v1/admin/releases/.hidden/promote"), 422, "invalid_request")


def test_traces_leave_only_when_an_endpoint_is_set(tmp_path, state_server, shop, models):
    spans = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            spans.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        toy = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url, otlp_endpoint=endpoint)
        toy.publish(models, "r1")
        with serving.served(toy) as client:
            recommend(client, "tea-1")
            told = lambda: {path for path, body in spans if b"/v1/recommend" in body}  # noqa: E731
            wait_for(told, {"/v1/traces"})
        collector.shutdown()
