"""Keys, limits and logs of the real service: two worker processes, the keeper, the command line beside them."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from pond.cli.main import main
from service.control import ControlPlane, Role
from tests import serving
from tests.serving import ROOT, RunningService, wait_for

PERSON = "secret-person-42"  # a customer whose id may stand in no log
ODD_PERSON = "微信用户-13800138000"


def pond_beside(*words, home):
    """A command in a process of its own."""
    subprocess.run(
        [sys.executable, "-m", "pond.cli.main", *words, "--home", str(home), "--quiet"], check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, stdout=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def pond(capsys):
    """A command in this process; returns what it says."""

    def pond(*words, home, code=0):
        assert main([*words, "--home", str(home), "--quiet"]) == code
        return capsys.readouterr().out

    return pond


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("e2e")
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.toy_models(), "r1")
    service = RunningService(toy, tmp_path / "log")
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def asked(service, key, n=24):
    """Statuses and headers of requests on connections of their own, so that every worker takes some."""

    def ask(_):
        with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            return client.post("/v1/recommend", json={"customer_id": "a", "k": 1})

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(n)))


def both_workers(service):
    return len(service.workers("/v1/recommend")) == 2


def test_a_key_revoked_on_the_command_line_fails_on_the_next_request_on_every_worker(service, pond):
    home = service.toy.settings.home
    key = pond("keys", "create", "--shop", "toy", "--role", "backend", home=home).strip()
    assert {answer.status_code for answer in asked(service, key)} == {200}
    wait_for(lambda: asked(service, key, 8) and both_workers(service))
    before = len(service.lines())
    pond_beside("keys", "revoke", key.split("_")[1], "--shop", "toy", home=home)
    assert {answer.status_code for answer in asked(service, key)} == {401}
    refused = [line for line in service.lines()[before:] if line.get("status") == 401]
    assert len(refused) == 24
    wait_for(lambda: asked(service, key, 8)
             and len({line["pid"] for line in service.lines()[before:] if line.get("status") == 401}) == 2)  # fmt: skip
    listed = pond("keys", "list", "--shop", "toy", home=home)
    assert key.split("_")[1] in listed
    assert key.rsplit("_", 1)[1] not in listed


def test_a_rate_holds_for_all_workers_together_and_says_when_to_come_back(service, pond):
    # One request in 100 s: however long this test takes on a busy machine, the second comes too early.
    key = pond("keys", "create", "--shop", "toy", "--rate", "0.01", home=service.toy.settings.home).strip()
    answers = asked(service, key)
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 23
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "rate_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert refused.json()["retry_after"] == int(refused.headers["retry-after"])
    assert refused.headers["content-type"] == "application/problem+json"
    with httpx.Client(base_url=service.url, headers=service.headers) as client:  # other keys of the shop go on
        assert client.post("/v1/recommend", json={"customer_id": "a"}).status_code == 200


def test_no_log_holds_a_customer_a_key_or_a_secret(service):
    keys = [service.headers["Authorization"].removeprefix("Bearer ")]
    with httpx.Client(base_url=service.url, headers=service.headers, timeout=60) as client:
        for who in (PERSON, ODD_PERSON):
            event = {"event_id": f"e-{who}", "customer_id": who, "kind": "view", "at": 1.79e9, "item_id": "tea1"}
            client.post("/v1/events", json={"events": [event | {"at": time.time()}]})
            client.post("/v1/recommend", json={"customer_id": who, "context": {"recent": [who]}})
            client.post("/v1/recommend", json={"customer_id": who, "scene": who})
            client.put(f"/v1/customers/{who}", json={"attributes": {"phone": who}})
            client.put(f"/v1/customers/{who}/consent", json={"purpose": "marketing", "state": "on", "source": who})
            client.get(f"/v1/customers/{who}")
            client.get(f"/v1/decisions/{who}")
            client.get(f"/v1/{who}?q={who}", headers={"X-Request-ID": f"{quote(who)}!"})
            client.post("/v1/events", content=who.encode())
            client.request("TRACE", f"/v1/customers/{who}")
        wrong = keys[0][:-1] + ("0" if keys[0][-1] != "0" else "1")
        client.get(f"/v1/customers/{PERSON}", headers={"Authorization": f"Bearer {wrong}"})
    assert service.stop() == 0
    home = service.toy.settings.home
    logs = [service.log, *home.rglob("*.log"), *(home / "logs").glob("*")]
    assert len(logs) >= 2  # the service's and the state server's
    assert '"path": "/v1/customers/{customer_id:path}"' in service.log.read_text()
    for path in logs:
        said = path.read_text("utf-8", "replace")
        for personal in (PERSON, ODD_PERSON, "13800138000", *(key.rsplit("_", 1)[1][:20] for key in keys)):
            assert personal not in said, (path, personal)
    control = (home / "control.db").read_bytes()
    assert keys[0].rsplit("_", 1)[1].encode() not in control


def test_the_audit_shows_what_was_done_on_the_command_line(service, pond):
    home = service.toy.settings.home
    pond("shop", "create", "second", home=home)
    key = pond("keys", "create", "--shop", "second", "--role", "admin", "--rate", "5", home=home).strip()
    for said in ("is revoked", "was revoked before"):
        assert said in pond("keys", "revoke", key.split("_")[1], "--shop", "second", home=home)
    pond("keys", "revoke", key.split("_")[1], "--shop", "toy", home=home, code=2)
    pond("keys", "create", "--shop", "second", "--rate", "0", home=home, code=2)
    pond("promote", "r1", "--shop", "toy", home=home)
    said = pond("audit", "--shop", "second", home=home)
    assert [said.count(word) for word in ("key.revoke", "key.create", "shop.create")] == [1, 1, 1]
    assert key.rsplit("_", 1)[1] not in said
    assert "release.promote" in pond("audit", "--shop", "toy", home=home)
    control = ControlPlane.open(service.toy.settings)
    assert [found.rate for found in control.list_keys("second")] == [5.0]
    assert control.list_keys("second")[0].role is Role.admin
    control.close()
