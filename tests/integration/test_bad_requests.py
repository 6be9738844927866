"""Bad requests: whatever is sent, the answer comes, is one of those documented, and says what to do.

Schemathesis makes requests from the OpenAPI document (fitting and unfitting ones), Hypothesis makes bodies that no
schema foresees, and some are sent as raw bytes. The service is the real one: its server, its routes, its state server.
"""

import gzip
import json
import re
import socket
from collections import Counter
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests import serving

EXAMPLES = 5  # per operation and mode
BOUNDED = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
CODE = re.compile(r"[a-z][a-z_]*")
# Words of the validator that mean nothing to a caller.
RAW = re.compile(r"Input should|Field required|Extra inputs|Value error|String should|pydantic|Traceback|\.py\b")


@pytest.fixture(scope="module")
def toy(tmp_path_factory, state_server):
    shop = serving.open_toy_shop(tmp_path_factory.mktemp("pond"), "bad-requests", redis_url=state_server.url,
                                 body_bytes=200_000, body_seconds=5.0)  # fmt: skip
    shop.publish(serving.toy_models(), "r1")
    return shop


@pytest.fixture(scope="module")
def client(toy):
    with serving.served(toy) as client:
        client.timeout = 20
        yield client


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


# A schema cannot say that a moment lies before 1990 or price_min above price_max: descriptions do, and it is refused.
# And what breaks one branch of "a text or null" may fit the other: Schemathesis then calls a right answer wrong.
NOT_JUDGED = [positive_data_acceptance, negative_data_rejection]


def proper(answer):
    """What every refusal is; returns its code."""
    assert answer.status_code < 500 or answer.json()["code"] == "no_release", answer.text
    if answer.status_code < 400:
        return ""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["status"] == answer.status_code
    assert CODE.fullmatch(told["code"])
    assert len(told["detail"]) >= 10, told
    said = json.dumps(told, ensure_ascii=False)
    assert not RAW.search(said), said
    return told["code"]


def asked(client, operation, mode, codes):
    """Send generated requests to one operation; returns what Schemathesis and `proper` find wrong."""

    key = {"Authorization": client.headers["Authorization"]}

    def ask(case):
        answer = case.call(base_url=str(client.base_url), headers=key, timeout=20)
        codes[answer.status_code] += 1
        case.validate_response(answer, headers=key, excluded_checks=NOT_JUDGED)
        if answer.status_code >= 400:
            kind = {"content-type": answer.headers["content-type"][0]}
            proper(httpx.Response(answer.status_code, headers=kind, content=answer.content))

    try:
        BOUNDED(given(operation.as_strategy(generation_mode=mode, headers=key))(ask))()
    except Unsatisfiable:  # an operation without body and parameters takes nothing that does not fit
        assert (mode, len(operation.body), len(operation.path_parameters)) == (GenerationMode.NEGATIVE, 0, 0)
    except FailureGroup as group:
        what = f"{operation.method.upper()} {operation.path} ({mode.value})"
        return [f"{what}: {one}\n{'; '.join(getattr(group, '__notes__', ()))}"[:4000] for one in group.exceptions]
    return []


def test_generated_requests_get_documented_answers(client, document, tell):
    schema, codes, wrong = schemathesis.openapi.from_dict(document), Counter(), []
    for found in schema.get_all_operations():
        for mode in GenerationMode:
            wrong += asked(client, found.ok(), mode, codes)
    tell(f"Schemathesis: {sum(codes.values())} requests to {len(list(schema.get_all_operations()))} operations: "
         f"{dict(sorted(codes.items()))}")  # fmt: skip
    assert not wrong, "\n\n".join(wrong)
    assert len(codes) > 4


# Bodies no schema foresees


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
    | st.sampled_from([10**400, -(10**30), 1e308, "\ud800", "\x00", "e\u0301", "\U0001f375" * 300, ".." * 9]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
GOOD = {
    "/v1/recommend": {"customer_id": "a", "k": 3, "context": {"basket": ["tea1"]}, "filters": {}, "mix": {}},
    "/v1/similar": {"item_ids": ["tea1"], "k": 3},
    "/v1/content": {"customer_id": "a", "k": 3, "forms": ["live"], "context": {"channel": "app"}, "again": True},
    "/v1/recommend/batch": {"queries": [{"customer_id": "a"}]},
    "/v1/events": {"events": [{"event_id": "e", "customer_id": "c", "kind": "view", "at": 1.75e9, "props": {}}]},
    "/v1/products/batch": {"products": [{"id": "p-odd", "price": 1, "attributes": {}}]},
    "/v1/customers/batch": {"customers": [{"id": "c-odd", "attributes": {}}]},
}
JSON = {"Content-Type": "application/json"}


@st.composite
def odd_bodies(draw):
    """A body that fits but for one place, or none that ever would."""
    path = draw(st.sampled_from(sorted(GOOD)))
    if draw(st.integers(0, 9)) == 0:
        return path, json.dumps(draw(TREES)).encode()
    body = json.loads(json.dumps(GOOD[path]))
    where = body
    while isinstance(where, dict | list) and where:
        key = draw(st.sampled_from(sorted(where))) if isinstance(where, dict) else 0
        if draw(st.booleans()) or not isinstance(where[key], dict | list) or not where[key]:
            where[key] = draw(TREES)
            break
        where = where[key]
    return path, json.dumps(body).encode()


@pytest.fixture(scope="module")
def tried():
    return Counter()


def test_odd_values_at_any_place_of_a_body_are_told_plainly(client, tried, tell):
    @settings(BOUNDED, max_examples=250)
    @given(odd_bodies())
    def ask(asked):
        path, body = asked
        tried[proper(client.post(path, content=body, headers=JSON)) or "accepted"] += 1

    ask()
    tell(f"Hypothesis: {sum(tried.values())} odd bodies: {dict(tried)}")
    assert len(tried) >= 3


def test_random_bytes_and_broken_json_are_told_plainly(client, tell):
    whole = json.dumps(GOOD["/v1/events"]).encode()
    n = Counter()

    @settings(BOUNDED, max_examples=100)
    @given(st.binary(max_size=200) | st.integers(1, len(whole) - 1).map(lambda cut: whole[:cut]))
    def ask(body):
        n[proper(client.post("/v1/events", content=body, headers=JSON))] += 1

    ask()
    assert n.keys() <= {"unreadable", "invalid_request", "nothing_stored"}
    tell(f"broken JSON: {sum(n.values())} bodies: {dict(n)}")


ODD_BODIES = {
    b"[" * 100_000: "unreadable",
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000: "unreadable",
    b'{"customer_id": "a", "k": 1' + b"0" * 5_000 + b"}": "unreadable",
    b'{"customer_id": "a", "k": 1e999}': "invalid_request",
    b'{"customer_id": "a", "k": NaN}': "invalid_request",
    b'{"customer_id": "a", "filters": {"price_min": Infinity}}': "invalid_request",
    b'{"customer_id": "\xff\xfe"}': "unreadable",
    b"\xef\xbb\xbf{}": "invalid_request",
    b'{"customer_id": "\\ud800"}': "invalid_request",
    b'{"customer_id": "a\\u0000b"}': "invalid_request",
    b'{"customer_id": "a", "customer_id": 7}': "invalid_request",  # of two the last counts, as everywhere in JSON
    b"": "invalid_request", b"null": "invalid_request", b"[]": "invalid_request", b'"x"': "invalid_request",
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(ODD_BODIES)))
def test_known_odd_bodies(client, number):
    body, code = list(ODD_BODIES.items())[number]
    answer = client.post("/v1/recommend", content=body, headers=JSON)
    assert proper(answer) == code, answer.text


def test_other_types_encodings_and_methods_are_told_plainly(client):
    body = b'{"customer_id": "a"}'
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x",
                 "application/x-www-form-urlencoded", "nonsense", ""):  # fmt: skip
        answer = client.post("/v1/recommend", content=body, headers={"Content-Type": kind} if kind else {})
        assert proper(answer) == "unsupported_media_type", kind
    for kind in ("application/json; charset=utf-8", "application/vnd.shop+json"):
        assert client.post("/v1/recommend", content=body, headers={"Content-Type": kind}).status_code == 200
    bomb = gzip.compress(b"0" * 50_000_000)
    for encoding in ("gzip", "br", "deflate, gzip"):
        answer = client.post("/v1/recommend", content=bomb, headers=JSON | {"Content-Encoding": encoding})
        assert proper(answer) == "unsupported_media_type"
    for verb in ("HEAD", "OPTIONS", "TRACE", "PATCH", "PURGE"):
        answer = client.request(verb, "/v1/recommend")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert verb == "HEAD" or proper(answer) == "method_not_allowed"


def test_bodies_in_chunks_of_any_size_are_read_and_bounded(client):
    body = json.dumps({"customer_id": "茶" * 80}).encode()
    sent = client.post("/v1/recommend", content=(body[i : i + 1] for i in range(len(body))), headers=JSON)
    assert sent.status_code == 200
    assert (
        proper(client.post("/v1/events", content=(b" " * 60_000 for _ in range(4)), headers=JSON)) == "body_too_large"
    )
    assert proper(client.post("/v1/events", content=b" " * 200_001, headers=JSON)) == "body_too_large"
    many = {"events": [GOOD["/v1/events"]["events"][0]] * 10_001}
    assert proper(client.post("/v1/events", content=json.dumps(many)[:150_000], headers=JSON)) == "unreadable"
    too_many = {"queries": [{"customer_id": "a"}] * 1_001}
    assert proper(client.post("/v1/recommend/batch", json=too_many)) == "invalid_request"


def raw(client, data):
    """Send bytes as they are and return all that comes back until the server closes or has answered."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as line:
        line.sendall(data)
        return line.recv(65_536)


def test_bytes_that_are_no_http_are_told_plainly(client):
    for data in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET /v1/products/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"POST /v1/events HTTP/1.1\r\nContent-Length: minus\r\n\r\n",
                 b"\x16\x03\x01\x02\x00\r\n"):  # fmt: skip
        told = raw(client, data)
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 4"), (data, told)
        assert b"application/problem+json" in head
        assert b"nosniff" in head
        assert json.loads(body)["code"] in ("unreadable", "unauthenticated", "usage")


def test_a_body_that_never_comes_is_given_up(client):
    key = client.headers["Authorization"]
    told = raw(client, f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Length: 100\r\n\r\n{{"
               .encode())  # fmt: skip
    assert b" 408 " in told
    assert b'"code":"body_too_slow"' in told


def test_without_a_key_no_byte_of_a_body_is_waited_for(client):
    told = raw(client, b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    assert b" 401 " in told


# Ids


IDS = [
    "a/b", "/", "//", "/lead", "trail/", "a b", " ", ".", "..", "../..", "%2F", "%", "%25", "a%2Fb", "😀🍵", "e\u0301",
    "\u00e9", "x/consent", "x/data", "x/batch", "batch", "consent", "data", "a?b", "a#b", "a&b=c", "a+b", "a;b", "a\\b",
    "\n", "\t", "\u202e", "顾客" * 128, "x" * 256, "😀" * 256, '"', "'", "<script>", "{customer_id}", "\x7f", "\ufeff",
    "null", "a:b", "{a}:{b}", "*", "~", "\u2028",
]  # fmt: skip


def check_id(client, name):
    at = quote(name, safe="").replace(".", "%2E")  # clients take `.` and `..` for steps of the path
    assert client.put(f"/v1/customers/{at}", json={"tags": [name]}).status_code == 200, name
    assert client.get(f"/v1/customers/{at}").json()["customer_id"] == name
    consent = {"purpose": "marketing", "state": "on"}
    assert client.put(f"/v1/customers/{at}/consent", json=consent).status_code == 200
    assert client.get(f"/v1/customers/{at}").json()["consents"]["marketing"] == "on", name
    for kind, body in (("products", {"title": "x"}), ("contents", {}), ("bundles", {"product_ids": [name]})):
        assert client.put(f"/v1/{kind}/{at}", json=body).status_code == 200, (kind, name)
        assert client.get(f"/v1/{kind}/{at}").json()["id"] == name
        assert client.delete(f"/v1/{kind}/{at}").status_code == 200
    asked = {"customer_id": name, "pins": [name], "exclude": [name], "context": {"basket": [name], "channel": name}}
    answer = client.post("/v1/recommend", json=asked)
    assert answer.status_code == 200, (name, answer.text)
    event = {"event_id": f"id-{name}"[:256], "customer_id": name, "kind": "view", "at": 1.79e9, "item_id": name}
    assert client.post("/v1/events", json={"events": [event]}).status_code in (202, 207, 422)


@pytest.fixture(scope="module")
def fresh(client, toy):
    """A client of a shop of its own: in the other one generated requests have erased people."""
    shop = serving.open_toy_shop(toy.settings.home, "ids", redis_url=toy.settings.redis_url)
    shop.publish(serving.toy_models(), "r1")
    with httpx.Client(base_url=client.base_url, headers=shop.headers(), timeout=20) as made:
        serving.wait_for(lambda: made.post("/v1/recommend", json={"customer_id": "a"}).status_code == 200)
        yield made


def test_ids_of_any_unicode_work_on_every_path_and_body(fresh):
    for name in IDS:
        check_id(fresh, name)


def test_random_ids_work_on_every_path_and_body(fresh, tell):
    n = Counter()
    letters = st.characters(exclude_characters="\0", exclude_categories=("Cs",))

    @settings(BOUNDED, max_examples=40)
    @given(st.text(letters, min_size=1, max_size=256))
    def ask(name):
        check_id(fresh, name)
        n["ids"] += 1

    ask()
    tell(f"ids: {len(IDS)} chosen and {n['ids']} random ones, 14 requests each")


def test_an_id_that_ends_like_a_path_is_not_another_customers_path(fresh):
    fresh.put("/v1/customers/whole", json={"tags": ["x"]})
    off = {"purpose": "personalization", "state": "off"}
    for end in ("merge", "data", "batch"):
        assert fresh.put(f"/v1/customers/whole%2F{end}", json={"tags": ["z"]}).status_code == 200
        assert fresh.get(f"/v1/customers/whole%2F{end}").json()["customer_id"] == f"whole/{end}"
    assert fresh.put("/v1/customers/whole%2Fconsent", json={"tags": ["y"]}).status_code == 200
    assert fresh.put("/v1/customers/whole%2Fconsent/consent", json=off).status_code == 200
    assert fresh.get("/v1/customers/whole").json()["personalization"] == "on"
    assert fresh.get("/v1/customers/whole%2Fconsent").json()["personalization"] == "off"
    assert fresh.get("/v1/customers/whole/part").status_code == 404
    fresh.put("/v1/customers/whole%2Fpart", json={"tags": ["x"]})
    assert fresh.get("/v1/customers/whole/part").json()["customer_id"] == "whole/part"  # where there is no doubt


def test_ids_that_cannot_be_are_refused_on_every_path(client):
    for at, code in (("%00", "invalid_request"), ("a%00b", "invalid_request"), ("x" * 257, "invalid_request"),
                     ("", "invalid_request"), ("%FF", "usage"), ("%ED%A0%80", "usage"), ("%C3", "usage")):  # fmt: skip
        for kind in ("customers", "products", "contents", "bundles", "decisions"):
            assert proper(client.get(f"/v1/{kind}/{at}")) == code, (kind, at)
