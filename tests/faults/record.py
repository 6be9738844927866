"""What a shop's backend knows: what it sent and what was acknowledged; and the audit of lake and journal against it."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import httpx
import redis

from features.columns import ItemKind
from features.lake import Lake
from service import guardian
from service.journal import Entry, all_partitions, decode
from service.live_state import partition_prefix
from service.settings import ServiceSettings
from tests.serving import RunningService, ToyShop, wait_for

ACKNOWLEDGED = frozenset({"stored", "late", "duplicate"})
ITEMS = tuple(f"{taste}{n}" for taste in ("tea", "coffee") for n in range(5))
OUT_OF_REACH = "state server does not answer"


class Record:
    """Filled by any number of threads; everything asserted here was seen by a client."""

    def __init__(self) -> None:
        self.sent: dict[str, dict[str, Any]] = {}
        self.stored: set[str] = set()
        self.prices: dict[float, bool] = {}  # every price sent for a product; whether it was acknowledged
        self.decided: list[str] = []
        self.asked = self.retries = self.degraded = 0
        self.wrong: list[str] = []

    def figures(self) -> str:
        return (
            f"{len(self.stored)} of {len(self.sent)} events and {sum(self.prices.values())} of {len(self.prices)} "
            f"catalogue changes acknowledged, {len(self.decided)} decisions of {self.asked} questions "
            f"({self.degraded} degraded), {self.retries} retries"
        )


class Backend(threading.Thread):
    """One caller: sends events in batches until they are acknowledged, asks for slates, changes a product.

    `url` tells where the service is now. With probability `gives_up` it does not send a failed batch again: whether
    that was stored is then not known to it. What a customer bought, once acknowledged, must be in his next personal
    answer.
    """

    def __init__(
        self, record: Record, url: Callable[[], str], headers: Mapping[str, str], name: str, seed: int = 0,
        gives_up: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self._record, self._url, self._gives_up = record, url, gives_up
        self._rng, self._done = random.Random(f"{seed}:{name}"), threading.Event()
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(4.0, connect=1.0))
        self._round = 0

    def run(self) -> None:
        try:
            while not self._done.is_set():
                self._round += 1
                self.visit()
        finally:
            self._client.close()

    def finish(self) -> None:
        """End with the visit that is under way."""
        self._done.set()

    def visit(self) -> None:
        who = f"{self.name}-{self._round}"
        bought = self._rng.sample(ITEMS, 3)
        if self.send([self.event(f"{who}:{n}", who, item) for n, item in enumerate(bought)]):
            self.recommend(who, bought)
        noise = [self.event(f"{who}:n{n}", f"tea-{n % 6}", self._rng.choice(ITEMS), "view") for n in range(20)]
        self.send(noise)
        self.recommend(f"tea-{self._rng.randrange(6)}")
        if self._round % 3 == 0:
            self.price()

    def event(self, event_id: str, who: str, item: str, kind: str = "purchase") -> dict[str, Any]:
        return {
            "event_id": event_id, "customer_id": who, "kind": kind, "at": time.time(), "item_id": item,
            "quantity": 1 + self._rng.randrange(9), "props": {"from": self.name},
        }  # fmt: skip

    def send(self, events: list[dict[str, Any]]) -> bool:
        self._record.sent.update({event["event_id"]: event for event in events})
        answer = self._until_taken("POST", "/v1/events", {"events": events})
        if answer is None:
            return False
        results = answer.json()["results"]
        for result in results:
            if result["result"] not in ACKNOWLEDGED:
                self._record.wrong.append(f"{result}")
            self._record.stored.add(result["event_id"])
        return len(results) == len(events)

    def recommend(self, who: str, bought: list[str] | None = None) -> None:
        answer = self._once("POST", "/v1/recommend", {"customer_id": who, "scene": "rebuy", "k": 3})
        self._record.asked += 1
        if answer is None or answer.status_code != 200:
            return
        said = answer.json()
        self._record.decided.append(said["decision_id"])
        if any(OUT_OF_REACH in why for why in said["degraded"]):
            self._record.degraded += 1
        elif bought is not None and {i["item_id"] for i in said["items"] if i["stage"] == "repeat"} != set(bought):
            self._record.wrong.append(f"{who} bought {bought} and was shown {said['items']}")

    def price(self) -> None:
        price = float(f"{int(self.name.rpartition('-')[2]) + 1}{self._round:06}")
        self._record.prices[price] = False
        answer = self._once("PUT", "/v1/products/bread", {"title": "rye bread", "stock": 5, "price": price})
        self._record.prices[price] = answer is not None and answer.status_code == 200

    def _until_taken(self, method: str, path: str, body: Any) -> httpx.Response | None:
        deadline = time.monotonic() + 60
        while True:
            answer = self._once(method, path, body)
            if answer is not None and answer.status_code == 202:
                return answer
            self._record.retries += 1
            if self._rng.random() < self._gives_up:
                return None
            if time.monotonic() > deadline:
                self._record.wrong.append(f"{path} was refused for a minute: {answer and answer.text}")
                return None
            time.sleep(self._rng.uniform(0.05, 0.3))

    def _once(self, method: str, path: str, body: Any) -> httpx.Response | None:
        try:
            answer = self._client.request(method, self._url() + path, json=body)
        except httpx.TransportError:
            return None
        if answer.status_code == 503 and int(answer.headers.get("Retry-After", 0)) < 1:
            self._record.wrong.append(f"503 without Retry-After: {answer.text}")
        if answer.status_code not in (200, 202, 503):
            self._record.wrong.append(f"{path}: {answer.status_code} {answer.text}")
        return answer


class Load:
    """Several backends at work on a running service, from `with` on until `finish`."""

    def __init__(self, service: RunningService, record: Record, n: int, seed: int = 0, gives_up: float = 0.2) -> None:
        self._record = record
        self.backends = [
            Backend(record, lambda: service.url, service.headers, f"b-{i}", seed, gives_up) for i in range(n)
        ]

    def __enter__(self) -> Self:
        for backend in self.backends:
            backend.start()
        return self

    def goes_on(self) -> None:
        """Return when more was acknowledged and answered than when it was called."""
        stored, decided = len(self._record.stored), len(self._record.decided)
        wait_for(lambda: len(self._record.stored) > stored + 50 and len(self._record.decided) > decided + 5)

    def answers_go_on(self) -> None:
        """Return when more was answered than when it was called."""
        decided = len(self._record.decided)
        wait_for(lambda: len(self._record.decided) > decided + 5)

    def finish(self) -> None:
        """Let every backend end its visit; one that does not is a hang."""
        for backend in self.backends:
            backend.finish()
        for backend in self.backends:
            backend.join(90)
            assert not backend.is_alive(), "a caller hangs"

    def __exit__(self, *_: object) -> None:
        for backend in self.backends:
            backend.finish()


def journal(settings: ServiceSettings, shop: str) -> Iterator[Entry]:
    """Everything in a shop's streams; the state server runs or is started for it."""
    server = guardian.start_or_join(settings)
    with redis.Redis.from_url(server.url, protocol=2) as client:
        for partition in all_partitions(settings.partitions):
            for entry_id, fields in client.xrange(partition_prefix(shop, partition) + b"journal"):
                yield decode(entry_id, fields)


def audit(toy: ToyShop, record: Record) -> dict[str, int]:
    """Compare a drained lake, and the journal, with what was acknowledged; the service has ended.

    Every acknowledged event, decision and price is there once with what was sent, nothing is there twice, and nothing
    is there that was never sent. Returns the rows by table.
    """
    assert record.wrong == [], record.wrong[:3]  # pytest tells nothing of a value in this file by itself
    lake = Lake(toy.shop.lake_dir)
    try:
        entries = list(journal(toy.settings, toy.shop.name))
    finally:
        guardian.stop(toy.settings)
    kept = {
        "events": [row["event_id"] for row in lake.scan("events").collect().to_dicts()],
        "decisions": lake.scan("decisions").collect()["decision_id"].to_list(),
        "products": lake.scan("products").collect()["price"].to_list(),
    }
    named = {"events": "event_id", "decisions": "decision_id", "products": "price"}
    streamed = {table: [e.row[name] for e in entries if e.type.value == table] for table, name in named.items()}
    for where in (kept, streamed):
        _audit_ids(where, record)
    for table in named:
        assert sorted(kept[table]) == sorted(streamed[table]), f"{table}: lake and journal differ"
    for row in lake.scan("events").collect().to_dicts():
        sent = record.sent[row["event_id"]]
        told = (row["customer_id"], row["kind"], row["item_kind"], row["item_id"], row["quantity"])
        wanted = (sent["customer_id"], sent["kind"], ItemKind.product.name, sent["item_id"], sent["quantity"])
        assert told == wanted, row
    assert not list(toy.settings.spool.glob("*")), "decisions wait in the spool"
    assert not (toy.shop.rejects_dir / "journal.jsonl").exists(), "the lake refused rows"
    return {table: len(ids) for table, ids in kept.items()}


def _audit_ids(found: Mapping[str, list[Any]], record: Record) -> None:
    counts = {table: Counter(ids) for table, ids in found.items()}
    prices = [price for price, is_acknowledged in record.prices.items() if is_acknowledged]
    for table, wanted in (("events", record.stored), ("decisions", record.decided), ("products", prices)):
        lost = [one for one in wanted if one not in counts[table]]
        twice = [one for one, n in counts[table].items() if n > 1]
        assert (lost, twice) == ([], []), f"{table}: {len(lost)} lost {lost[:5]}, {len(twice)} doubled {twice[:5]}"
    assert len(set(record.decided)) == len(record.decided)
    assert not counts["events"].keys() - record.sent.keys(), "events that nobody sent"
    assert not counts["products"].keys() - record.prices.keys(), "prices that nobody sent"
    assert counts["decisions"].total() <= record.asked, "more decisions than questions"
