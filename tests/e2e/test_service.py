"""The real service: `serve` as its own process with two workers, the keeper and an embedded state server."""

import asyncio
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import polars as pl
import pytest

from features.lake import Lake
from models.slate import Request
from service.guardian import is_running
from tests import serving
from tests.serving import wait_for


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


@pytest.fixture(scope="module")
def service(tmp_path_factory, models):
    tmp_path = tmp_path_factory.mktemp("e2e")
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(models, "r1")
    service = serving.RunningService(toy, tmp_path / "log")
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def test_an_acknowledged_event_is_seen_by_the_next_decision_on_any_worker(service):
    def one_customer(n):
        who = f"ryw-{n}"
        for step, item in enumerate(("tea1", "coffee2", "bread")):
            event = {"event_id": f"{who}-{step}", "customer_id": who, "kind": "purchase", "at": time.time(),
                     "item_id": item}  # fmt: skip
            service.fresh_post("/v1/events", {"events": [event]})
            question = {"customer_id": who, "scene": "rebuy", "k": step + 1}
            shown = {
                i["item_id"] for i in service.fresh_post("/v1/recommend", question)["items"] if i["stage"] == "repeat"
            }
            assert shown == set(("tea1", "coffee2", "bread")[: step + 1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one_customer, range(24)))
    assert len(service.workers("/v1/events")) == 2
    assert len(service.workers("/v1/recommend")) == 2


def test_a_change_of_stock_holds_on_every_worker_at_once(service):
    def shown():
        return service.fresh_post("/v1/recommend", {"customer_id": "nobody", "scene": "popular", "k": 5})["items"]

    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=service.url, headers=service.headers) as client:
        for stock in (0, 5, 0, 5):
            told = {"title": "rye bread", "category": "food/bread", "stock": stock}
            assert client.put("/v1/products/bread", json=told).status_code == 200
            answers = list(pool.map(lambda _: shown(), range(16)))
            assert {any(i["item_id"] == "bread" for i in items) for items in answers} == {stock > 0}


def test_http_and_batch_answer_as_the_pipeline_does(service, models):
    queries = [
        {"customer_id": f"{taste}-{n}", "scene": "discover", "k": 6} for taste in ("tea", "coffee") for n in range(6)
    ]
    results = service.fresh_post("/v1/recommend/batch", {"queries": queries})["results"]
    for query, result in zip(queries, results, strict=True):
        alone = service.fresh_post("/v1/recommend", query)
        now = int(time.time() * 1e6)
        asked = Request(models.query(models.customers.ids.idx(query["customer_id"]), now), "discover", 6)
        slate = models.pipeline.recommend(asked, models.items)
        expected = [models.items.text(pick.item_idx) for pick in slate.picks]
        assert ids(alone) == ids(result["answer"]) == expected


def test_releases_change_under_load_without_an_error_and_without_mixing(service, models):
    marked = {
        "r1": models,
        "p1": serving.toy_models({"scenes": {"home": {"sources": {"popular": 1.0}, "fallback": []}}}),
        "p2": serving.toy_models({"scenes": {"home": {"sources": {"itemknn": 1.0}, "repeat_policy": "exclude"}}}),
    }
    now = int(time.time() * 1e6)
    expected = {
        name: [made.items.text(p.item_idx) for p in made.pipeline.recommend(
            Request(made.query(made.customers.ids.idx("tea-3"), now), "home", 5), made.items).picks]
        for name, made in marked.items()
    }  # fmt: skip
    assert len({tuple(slate) for slate in expected.values()}) == 3
    answers: list[tuple[str, tuple[str, ...]]] = []

    async def caller(client, until):
        while not until.is_set():
            answer = await client.post("/v1/recommend", json={"customer_id": "tea-3", "k": 5})
            assert answer.status_code == 200, answer.text
            answers.append((answer.json()["release"], tuple(ids(answer.json()))))

    async def change(until):
        for name in ("p1", "p2"):
            await asyncio.to_thread(service.toy.publish, marked[name], name)
            await seen(name)
        service.toy.releases.rollback()
        await seen("p1")
        service.toy.releases.rollback()
        await seen("r1")
        until.set()

    async def seen(name):
        deadline = time.monotonic() + 30
        while {release for release, _ in answers[-20:]} != {name}:
            assert time.monotonic() < deadline, f"{name} is not served"
            await asyncio.sleep(0.05)

    async def run():
        until = asyncio.Event()
        client = httpx.AsyncClient(base_url=service.url, headers=service.headers, timeout=60)
        async with client, asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(caller(client, until))
            group.create_task(change(until))

    asyncio.run(run())
    assert {release for release, _ in answers} == {"r1", "p1", "p2"}
    for release, slate in answers:
        assert list(slate) == expected[release]


def test_a_dead_worker_is_replaced_and_the_other_goes_on(service):
    victim = min(service.workers("/v1/recommend"))
    os.kill(victim, signal.SIGKILL)
    for n in range(20):
        service.fresh_post("/v1/recommend", {"customer_id": f"tea-{n % 6}"})
    wait_for(lambda: any(line["event"] == "child_died" and line["child"] == victim for line in service.lines()))
    began = lambda: {line["pid"] for line in service.lines() if line["event"] == "release_serves"}  # noqa: E731
    wait_for(lambda: len(began()) == 3)

    def asked_of_two():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: service.fresh_post("/v1/recommend", {"customer_id": "a"}), range(16)))
        return len(service.workers("/v1/recommend") - {victim}) == 2

    wait_for(asked_of_two)


def test_a_killed_guardian_is_replaced_while_the_service_runs(service):
    state = service.toy.settings.state_dir
    pid = lambda name: int((state / f"{name}.pid").read_text())  # noqa: E731
    guardian, server = pid("guardian"), pid("server")
    os.kill(guardian, signal.SIGKILL)
    wait_for(lambda: any(line["event"] == "guardian_died" for line in service.lines()))
    wait_for(lambda: pid("guardian") != guardian)
    assert pid("server") == server
    os.kill(server, signal.SIGKILL)  # the new guardian watches the server it did not start
    wait_for(lambda: pid("server") != server)
    wait_for(lambda: not service.fresh_post("/v1/recommend", {"customer_id": "tea-3"})["degraded"])


def test_metrics_are_those_of_all_workers(service):
    def logged():
        return sum(line.get("path") == "/v1/recommend" and line["status"] == 200 for line in service.lines())

    def counted():
        text = httpx.get(f"{service.url}/metrics").text
        return float(
            re.search(r'pond_requests_total\{method="POST",path="/v1/recommend",status="200"\} (\S+)', text)[1]
        )

    # A caller of the last test may have gone before his answer: it is counted and logged when it is done.
    wait_for(lambda: counted() == logged())
    assert logged() > 24


def test_it_ends_in_order_with_everything_in_the_lake(service):
    answer = service.fresh_post("/v1/recommend", {"customer_id": "tea-3"})
    assert service.stop() == 0
    assert not is_running(service.toy.settings)
    lake = Lake(service.toy.shop.lake_dir)
    decisions = lake.scan("decisions").collect()
    assert answer["decision_id"] in decisions["decision_id"].to_list()
    assert decisions["decision_id"].is_unique().all()
    assert lake.scan("events").filter(pl.col("customer_id").str.starts_with("ryw-")).collect().height == 24 * 3
