"""Shops are apart: every route of the application with every wrong key, and ids that only another shop has."""

import json
import re
import time

import httpx
import pytest
import redis
from fastapi.routing import iter_route_contexts

from service.addressing import IdRoute
from service.app import create_app
from service.control import ControlPlane, Role
from tests import serving, worlds
from training.fit import fit_parts

# The role each route needs (public contract): a new route fails here until it is written down.
NEEDS = {
    ("POST", "/v1/recommend"): Role.backend,
    ("POST", "/v1/recommend/batch"): Role.backend,
    ("POST", "/v1/similar"): Role.backend,
    ("POST", "/v1/content"): Role.backend,
    ("POST", "/v1/audience"): Role.backend,
    ("POST", "/v1/groups/{group_id}/recommend"): Role.backend,
    ("POST", "/v1/bundles"): Role.backend,
    ("POST", "/v1/events"): Role.backend,
    ("GET", "/v1/decisions/{decision_id}"): Role.operator,
    ("GET", "/v1/admin/audit"): Role.admin,
    ("GET", "/v1/admin/releases"): Role.admin,
    ("POST", "/v1/admin/releases/rollback"): Role.admin,
    ("POST", "/v1/admin/releases/{release_id}/promote"): Role.admin,
    **{(verb, "/v1/customers/{customer_id}/consent"): Role.backend for verb in ("PUT", "GET")},
    ("POST", "/v1/customers/{customer_id}/merge"): Role.backend,
    **{(verb, "/v1/customers/{customer_id}/data"): Role.admin for verb in ("GET", "DELETE")},
    ("GET", "/v1/erasures/{receipt_id}"): Role.admin,
    **{(verb, "/v1/identities/{id_type}/{id_value}"): Role.backend for verb in ("PUT", "DELETE")},
    **{(verb, "/v1/rules"): Role.operator for verb in ("GET", "POST")},
    **{(verb, "/v1/rules/{rule_id}"): Role.operator for verb in ("GET", "PUT", "DELETE")},
    ("POST", "/v1/customers/batch"): Role.backend,
    **{(verb, "/v1/customers/{customer_id}"): Role.backend for verb in ("PUT", "GET", "DELETE")},
    **{("POST", f"/v1/{kind}s/batch"): Role.backend for kind in ("product", "content", "bundle")},
    **{
        (verb, f"/v1/{kind}s/{{{kind}_id}}"): Role.backend
        for kind in ("product", "content", "bundle")
        for verb in ("PUT", "GET", "DELETE")
    },
}
OPEN = {
    ("GET", path)
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect",
                 "/redoc")
}  # fmt: skip
# Answered alike for whoever asks: nothing was said, nothing is forgotten, two unknown ids become one person, a group
# of nobody gets what is popular.
ALWAYS = {
    ("GET", "/v1/customers/{customer_id}/consent"), ("DELETE", "/v1/customers/{customer_id}"),
    ("POST", "/v1/customers/{customer_id}/merge"), ("POST", "/v1/groups/{group_id}/recommend"),
}  # fmt: skip
ERASE = ("DELETE", "/v1/customers/{customer_id}/data")  # tried last: who was erased is taken in no more
ONLY_MINE = "only-mine"  # ids that exist in the shop `mine` alone


@pytest.fixture(scope="module")
def models():
    return fit_parts(worlds.two_tastes(), serving.toy_models())


@pytest.fixture(scope="module")
def home(tmp_path_factory, state_server, models):
    """Two shops in one deployment; `mine` has data of every kind that `other` has not."""
    place = tmp_path_factory.mktemp("pond")
    mine, other = (serving.open_toy_shop(place, name, redis_url=state_server.url) for name in ("mine", "other"))
    for release in ("r1", ONLY_MINE):
        mine.publish(models, release)
    other.publish(models, "r1")
    return mine, other


@pytest.fixture(scope="module")
def client(home):
    with serving.served(home[0]) as client:
        client.headers.pop("Authorization")
        yield client


@pytest.fixture(scope="module")
def known(home, client):
    """Fill `mine`; returns the ids that the service gave."""
    headers = home[0].headers()
    for path, body in {
        f"products/{ONLY_MINE}": {"title": "x"}, f"contents/{ONLY_MINE}": {"title": "x"},
        f"bundles/{ONLY_MINE}": {"product_ids": ["tea1"]}, f"customers/{ONLY_MINE}": {"tags": ["x"]},
        f"customers/{ONLY_MINE}/consent": {"purpose": "marketing", "state": "on"},
        f"rules/{ONLY_MINE}": {"action": "exclude", "item_ids": ["tea1"], "scenes": ["none"]},
    }.items():  # fmt: skip
        assert client.put(f"/v1/{path}", json=body, headers=headers).status_code == 200
    event = {"event_id": ONLY_MINE, "customer_id": ONLY_MINE, "kind": "view", "at": time.time(), "item_id": "tea1"}
    assert client.post("/v1/events", json={"events": [event]}, headers=headers).status_code == 202
    decision = client.post("/v1/recommend", json={"customer_id": ONLY_MINE}, headers=headers).json()["decision_id"]
    for who in ("erased-here", "second-mine"):
        assert client.put(f"/v1/customers/{who}", json={"tags": ["x"]}, headers=headers).status_code == 200
    receipt = client.delete("/v1/customers/erased-here/data", headers=headers).json()["receipt"]
    serving.wait_for(lambda: client.get(f"/v1/erasures/{receipt}", headers=headers).json()["state"] == "done")
    return {"decision_id": decision, "receipt_id": receipt}


@pytest.fixture(scope="module")
def routes(home):
    app = create_app(home[0].settings)
    found = [
        (verb, route.path_format, route.original_route)
        for route in iter_route_contexts(app.routes)
        for verb in sorted(set(route.methods or ()) - {"HEAD"})
    ]
    told = {(verb.upper(), path) for path, methods in app.openapi()["paths"].items() for verb in methods}
    assert told <= {(verb, path) for verb, path, _ in found}
    return found


BODIES = {
    "recommend": {"customer_id": ONLY_MINE}, "recommend/batch": {"queries": [{"customer_id": ONLY_MINE}]},
    "audience": {"aim": {"kind": "product", "id": "tea1"}, "budget": {"customers": 5}, "for_analysis": True},
    "groups/{group_id}/recommend": {"members": [ONLY_MINE]},
    "similar": {"item_ids": [ONLY_MINE]}, "content": {"customer_id": ONLY_MINE, "exclude": [ONLY_MINE]},
     "bundles/{bundle_id}": {"product_ids": ["tea1"]},
    "events": {"events": [{"event_id": "z", "customer_id": ONLY_MINE, "kind": "view", "at": time.time()}]},
    "customers/{customer_id}/consent": {"purpose": "marketing", "state": "off"},
    "rules": {"action": "exclude", "item_ids": ["tea1"], "scenes": ["none"]},
    "rules/{rule_id}": {"action": "exclude", "item_ids": ["tea1"], "scenes": ["none"]},
    "customers/{customer_id}/merge": {"into": "target-person"},
    "identities/{id_type}/{id_value}": {"customer_id": "target-person"},
    "customers/batch": {"customers": [{"id": ONLY_MINE}]}, "products/batch": {"products": [{"id": ONLY_MINE}]},
    "contents/batch": {"contents": [{"id": ONLY_MINE}]},
    "bundles/batch": {"bundles": [{"id": ONLY_MINE, "product_ids": ["tea1"]}]},
}  # fmt: skip


def call(client, verb, path, key, **ids):
    filled = path
    for name in re.findall(r"{(\w+)}", path):
        filled = filled.replace(f"{{{name}}}", ids.get(name, ids.get("any", ONLY_MINE)))
    headers = {} if key is None else {"Authorization": key}
    body = BODIES.get(path.removeprefix("/v1/"), {}) if verb in ("POST", "PUT") else None
    return client.request(verb, filled, json=body, headers=headers)


def told(answer):
    """What a caller can tell two answers apart by."""
    body = answer.json()
    body.pop("request_id", None)
    body.pop("decision_id", None)
    body.pop("version", None)  # of the caller's own catalogue: it counts what the caller does
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    return answer.status_code, body, headers


def state_of(home, state_server):
    """Everything of the shop `mine`: each key of its live state whole, the control plane, the pointer."""
    mine, _ = home
    with redis.Redis.from_url(state_server.url) as server:
        keys = sorted(server.keys(b"pond:v1:{mine:*"))
        live = {key: _meta(server, key) if key.endswith(b"}:meta") else server.dump(key) for key in keys}
    control = ControlPlane.open(mine.settings)
    rows = (control.list_keys("mine"), control.audit("mine", 10_000))
    control.close()
    return live, rows, mine.releases.current_id(), [m.release_id for m in mine.releases.list()]


def _meta(server, key):
    # How far the shop's own lake is known to its workers follows the erasure in the fixture, in its own time.
    return {name: said for name, said in server.hgetall(key).items() if not name.startswith(b"lake.")}


def test_every_route_has_its_role_in_the_table(routes):
    found = {(verb, path) for verb, path, _ in routes}
    assert found == set(NEEDS) | OPEN


def test_every_route_of_the_contract_decodes_its_ids_after_it_was_chosen(routes):
    assert [path for _, path, route in routes if path.startswith("/v1/") and not isinstance(route, IdRoute)] == []


def wrong_keys(home):
    mine, _ = home
    good = mine.headers()["Authorization"]
    revoked = mine.headers()["Authorization"]
    control = ControlPlane.open(mine.settings)
    control.revoke_key("mine", revoked.split("_")[1])
    control.close()
    secret = good.removeprefix("Bearer ")
    return {
        "none": None, "empty": "", "garbage": "Bearer pond_xyz", "no scheme": secret, "wrong scheme": f"Basic {secret}",
        "revoked": revoked, "flipped": good[:-1] + ("0" if good[-1] != "0" else "1"), "short": good[:-1],
        "unknown": f"Bearer pond_{'0' * 12}_{'0' * 64}",
        "another id": f"Bearer pond_{'0' * 12}_{good.rsplit('_', 1)[1]}",
        "two keys": f"{good}, {good}", "upper case": good.upper(), "a quote": "Bearer ' OR 1=1 --",
    }  # fmt: skip


def test_no_wrong_key_opens_any_route_and_nothing_changes(home, client, known, routes, state_server, tell):
    keys, roles = wrong_keys(home), {role: home[0].headers(role)["Authorization"] for role in Role}
    before, n = state_of(home, state_server), 0
    for (verb, path), needed in NEEDS.items():
        refusals = set()
        for name, key in keys.items():
            answer = call(client, verb, path, key, **known)
            assert answer.status_code == 401, (verb, path, name, answer.text)
            assert (answer.headers["content-type"], answer.headers["www-authenticate"]) == (
                "application/problem+json", "Bearer",
            )  # fmt: skip
            refusals.add(json.dumps(told(answer), sort_keys=True))
            n += 1
        assert len(refusals) == 1, (verb, path)
        for role in Role:
            if not role.covers(needed):
                answer = call(client, verb, path, roles[role], **known)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (verb, path, role)
                n += 1
    assert state_of(home, state_server) == before
    tell(f"{n} attempts with wrong keys on {len(NEEDS)} routes")


def test_a_route_that_refuses_a_role_lets_the_one_it_needs_in(home, client, known):
    roles = {role: home[0].headers(role)["Authorization"] for role in Role}
    for (verb, path), needed in NEEDS.items():
        who = "%00" if (verb, path) == ERASE else "nobody-knows-this"  # let in, and then refused as no id
        answer = call(client, verb, path, roles[needed], any=who, decision_id="0" * 31, receipt_id="e" + "0" * 24)
        assert answer.status_code not in (401, 403), (verb, path, answer.text)
        assert answer.status_code < 500


def test_what_exists_in_another_shop_answers_like_what_exists_nowhere(home, client, known, state_server, tell):
    key, before, n = home[1].headers()["Authorization"], state_of(home, state_server), 0
    made_up = {name: made[:3] + "f" * (len(made) - 3) for name, made in known.items()}
    for verb, path in (route for route in NEEDS if "{" not in route[1] and route[0] == "GET"):
        answer = call(client, verb, path, key)
        assert answer.status_code == 200, (verb, path, answer.text)
        assert ONLY_MINE not in answer.text
        assert "mine" not in answer.text
        n += 1
    # What writes into the caller's own shop comes last, and what makes two ids one person after all.
    late = {"GET": 0, "POST": 1, "DELETE": 2, "PUT": 3}
    routes = [route for route in NEEDS if "{" in route[1] and route != ERASE]
    for verb, path in sorted(routes, key=lambda r: (r[1].endswith("/merge") or "identities" in r[1], late[r[0]])):
        elsewhere = call(client, verb, path, key, **known)
        nowhere = call(client, verb, path, key, any="xnly-mine", **made_up)
        assert elsewhere.status_code in ((200,) if (verb, path) in ALWAYS or verb == "PUT" else (404, 409)), (
            verb, path, elsewhere.text,
        )  # fmt: skip
        assert json.dumps(told(elsewhere)).replace(ONLY_MINE, "xnly-mine") == json.dumps(told(nowhere)), (verb, path)
        n += 2
    written = [route for route in NEEDS if "{" not in route[1] and route[0] != "GET" and "rollback" not in route[1]]
    for verb, path in written:
        answer = call(client, verb, path, key)
        assert answer.status_code in (200, 202, 207), (verb, path, answer.text)
        n += 1
    assert state_of(home, state_server) == before
    tell(f"{n} attempts with another shop's key")


def test_events_and_writes_of_one_shop_are_not_seen_by_the_other(home, client, known):
    mine, other = (shop.headers() for shop in home)
    same = {
        "event_id": ONLY_MINE,
        "customer_id": ONLY_MINE,
        "kind": "purchase",
        "at": time.time(),
        "item_id": "coffee1",
    }
    sent = client.post("/v1/events", json={"events": [same]}, headers=other).json()
    assert sent["results"][0]["result"] == "stored"  # no conflict with the id that `mine` has
    client.put("/v1/products/tea1", json={"title": "x", "stock": 0}, headers=other)
    shown = {
        name: [i["item_id"] for i in client.post("/v1/recommend", json={"customer_id": "tea-3", "scene": "popular"},
                                                 headers=headers).json()["items"]]
        for name, headers in (("mine", mine), ("other", other))
    }  # fmt: skip
    assert "tea1" in shown["mine"]
    assert "tea1" not in shown["other"]
    recent = client.get(f"/v1/customers/{ONLY_MINE}", headers=mine).json()["recent"]
    assert recent[0]["item_id"] == "tea1"
    assert "coffee1" not in [event["item_id"] for event in recent]


def test_what_administrators_do_is_in_the_audit_of_their_shop(home, client):
    headers = home[0].headers()
    for way in ("r1/promote", f"{ONLY_MINE}/promote", "rollback"):
        assert client.post(f"/v1/admin/releases/{way}", headers=headers).status_code == 200
    entries = client.get("/v1/admin/audit?limit=2", headers=headers).json()["entries"]
    assert [entry["action"] for entry in entries] == ["release.rollback", "release.promote"]
    assert {entry["actor"] for entry in entries} == {headers["Authorization"].split("_")[1]}
    assert client.get("/v1/admin/audit?limit=0", headers=headers).status_code == 422


def test_every_answer_of_every_kind_has_the_secure_headers(home, client, known):
    key, answers = home[0].headers()["Authorization"], {}
    for verb, path in [*NEEDS, *OPEN, ("GET", "/nothing"), ("GET", "/v1/nothing"), ("TRACE", "/v1/recommend"),
                       ("OPTIONS", "/v1/recommend"), ("HEAD", "/health/live")]:  # fmt: skip
        answers[verb, path, "key"] = call(client, verb, path, key, any="%00", release_id="none")
        answers[verb, path, "none"] = call(client, verb, path, None, any="%00", release_id="none")
    for where, answer in answers.items():
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff", where
        assert headers["x-frame-options"] == "DENY", where
        assert headers["referrer-policy"] == "no-referrer", where
        assert headers["cache-control"] == "no-store", where
        assert "default-src 'none'" in headers["content-security-policy"], where
        assert "server" not in headers, where
        assert len(headers["x-request-id"]) >= 8, where
        if answer.status_code >= 400 and where[0] != "HEAD":
            assert headers["content-type"] == "application/problem+json", (where, answer.text)


def test_one_shop_that_cannot_be_read_takes_no_other_with_it(tmp_path, state_server, shop, models):
    good = serving.open_toy_shop(tmp_path, shop, redis_url=state_server.url)
    bad = serving.open_toy_shop(tmp_path, f"a-{shop}"[:41], redis_url=state_server.url)
    good.publish(models, "r1")
    bad.shop.config_file.write_text("not toml [")
    with serving.served(good) as client:
        assert client.post("/v1/recommend", json={"customer_id": "a"}).status_code == 200
        ready = client.get("/health/ready")
        (missing,) = ready.json()["missing"]
        assert ready.status_code == 503
        assert missing.startswith(f"shop {bad.shop.name}: pond.toml: is not valid TOML")


def test_counts_tell_shops_apart_only_to_who_may_know(tmp_path, state_server, shop, models):
    public = serving.open_toy_shop(tmp_path / "a", shop, redis_url=state_server.url, host="0.0.0.0")  # noqa: S104
    public.publish(models, "r1")
    with serving.served(public) as client:
        client.post("/v1/recommend", json={"customer_id": "a"})
        text = client.get("/metrics").text
        assert shop not in text
        assert "r1" not in text
        assert "pond_answers_total 1.0" in text
    told_token = serving.ToyShop(public.shop, public.settings.model_copy(update={"metrics_token": "t" * 20}))
    with serving.served(told_token) as client:
        client.post("/v1/recommend", json={"customer_id": "a"})
        assert shop not in httpx.get(f"{client.base_url}/metrics").text
        seen = httpx.get(f"{client.base_url}/metrics", headers={"Authorization": f"Bearer {'t' * 20}"}).text
        assert f'shop="{shop}"' in seen


def test_erasing_an_id_in_one_shop_leaves_the_person_of_another(home, client, known, state_server):
    key, before = home[1].headers()["Authorization"], state_of(home, state_server)
    for who in ("second-mine", "xecond-mine"):  # the one is an id of another person in `mine`, the other is not
        assert call(client, *ERASE, key, any=who).status_code == 404
        at = f"/v1/customers/{who}"
        assert client.put(at, json={"tags": ["y"]}, headers={"Authorization": key}).status_code == 200
    elsewhere, nowhere = (call(client, *ERASE, key, any=who) for who in ("second-mine", "xecond-mine"))
    assert elsewhere.status_code == nowhere.status_code == 202
    assert elsewhere.json().keys() == nowhere.json().keys()
    for receipt in (elsewhere.json()["receipt"], nowhere.json()["receipt"]):
        asked = f"/v1/erasures/{receipt}"
        serving.wait_for(lambda at=asked: client.get(at, headers={"Authorization": key}).json()["state"] == "done")
        assert client.get(asked, headers=home[0].headers()).status_code == 404
    assert state_of(home, state_server)[0] == before[0]
    assert client.get("/v1/customers/second-mine", headers=home[0].headers()).status_code == 200
