"""Stock and status on two real workers that share a socket: every request after an acknowledged change obeys it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import serving
from tests.serving import wait_for

ROOT = Path(__file__).resolve().parents[2]
TOLD = {"title": "rye bread", "category": "food/bread"}
WORKERS = 2
ROUND = 20  # requests after each change, on connections of their own: any worker may take them


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("stock")
    toy = serving.open_toy_shop(home, "toy")
    toy.publish(serving.toy_models(), "r1")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "POND_EXPLORE_SHARE": "0.5"}
    env |= {f"POND_{name}_MS": "10000" for name in ("CONNECT", "READ", "WRITE")}
    options = ["--workers", str(WORKERS), "--port", "0"]
    command = [sys.executable, "-m", "pond.cli.main", "--home", str(home), "serve", *options]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=env) as process,
    ):
        try:
            said = process.stdout.readline()
            assert said, (home / "log").read_text()
            yield toy, re.search(r"http://\S+", said)[0], toy.headers(), home / "log"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def fresh(service, path, body):
    _, url, headers, _ = service
    # A connection of its own; httpx would spend more on making one than the service on answering.
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", path, json.dumps(body), headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    finally:
        connection.close()
    assert answer.status == http.HTTPStatus.OK, told
    return {item["item_id"] for item in told["items"]}


QUESTIONS = (
    ("/v1/recommend", {"customer_id": "nobody", "scene": "popular", "k": 5}),
    ("/v1/recommend", {"customer_id": "tea-1", "scene": "home", "k": 15, "pins": ["bread"]}),
    ("/v1/recommend", {"customer_id": "tea-2", "scene": "rebuy", "k": 15}),
    ("/v1/recommend", {"customer_id": "nobody", "scene": "cart", "k": 15}),  # filled from fallbacks
    ("/v1/similar", {"item_ids": ["tea0"], "k": 15}),
)


def seen(service, pool):
    """Whether bread is in the answers, of all requests of a round; it goes on until every worker has taken some."""
    *_, log = service
    asked, shown, before = [QUESTIONS[n % len(QUESTIONS)] for n in range(ROUND)], set(), log.stat().st_size

    def every_worker_answered():
        nonlocal shown
        shown |= {"bread" in ids for ids in pool.map(lambda one: fresh(service, *one), asked)}
        said = log.read_bytes()[before:].decode("utf-8", "replace")
        return len(set(re.findall(r'"path": ?"/v1/(?:recommend|similar)".*?"pid": ?(\d+)', said))) == WORKERS

    wait_for(every_worker_answered)
    return shown


@pytest.mark.parametrize(
    "gone", [{"stock": 0}, {"status": "hidden"}, {"status": "expired"}, {"stock": -2}, {"created_at": "2190-01-01"}]
)
def test_what_may_not_be_shown_is_gone_from_every_worker_at_once_and_comes_back(service, gone):
    _, url, headers, _ = service
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        assert client.put("/v1/products/bread", json=TOLD | gone).status_code == 200
        assert seen(service, pool) == {False}
        assert client.put("/v1/products/bread", json=TOLD | {"stock": 4}).status_code == 200
        assert seen(service, pool) == {True}


def test_a_threshold_in_pond_toml_holds_on_every_worker_without_training_or_restart(service):
    toy, url, headers, _ = service
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        client.put("/v1/products/bread", json=TOLD | {"stock": 4})
        assert seen(service, pool) == {True}
        written = toy.shop.config_file.read_text()
        for low_stock, wanted in ((4, False), (3, True), (10.5, False)):
            toy.shop.config_file.write_text(f"{written}low_stock = {low_stock}\n")
            deadline = time.monotonic() + 20
            while seen(service, pool) != {wanted}:
                assert time.monotonic() < deadline, "the workers do not follow pond.toml"
            # From then on it holds for live changes too.
            client.put("/v1/products/bread", json=TOLD | {"stock": low_stock})
            assert seen(service, pool) == {False}
            client.put("/v1/products/bread", json=TOLD | {"stock": low_stock + 0.5})
            assert seen(service, pool) == {True}
            client.put("/v1/products/bread", json=TOLD | {"stock": 4})
        toy.shop.config_file.write_text(written)
