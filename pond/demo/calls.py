"""The example calls of the demo: a shop's backend speaking to Pond over HTTP, and what it got shown as tables."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import polars as pl
from rich.console import Console
from rich.text import Text

from features.errors import ServiceUnreachable
from features.lake import Lake
from pond.cli.tables import table

K: Final = 6
STRANGER: Final = "first-visit"
READY_SECONDS: Final = 90.0


@dataclass(frozen=True)
class Guests:
    """Who the demo asks for: customers by how much they bought, with their number of baskets."""

    regulars: tuple[tuple[str, int], tuple[str, int]]
    light: tuple[str, int]


def choose_guests(lake: Lake) -> Guests:
    """Take two customers among the ninth tenth by baskets, and one with very few: always the same ones."""
    baskets = (
        lake.scan("events")
        .group_by("customer_id")
        .agg(n=pl.col("order_id").n_unique())
        .sort("n", "customer_id")
        .collect()
    )
    rows = baskets.rows()
    few = next((row for row in rows if row[1] >= 2), rows[0])
    return Guests((rows[int(len(rows) * 0.9)], rows[int(len(rows) * 0.8)]), few)


class ShopBackend:
    """A shop's backend as Pond sees it: a base URL and a key."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0)

    def wait_until_ready(self, is_alive: Callable[[], bool], log: Path) -> None:
        """Return when the service answers; a process that ended or a silent minute is `ServiceUnreachable`."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and is_alive():
            try:
                if self._http.get("/health/ready").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.1)
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise ServiceUnreachable(f"The service does not answer; its log is {log} and ends: {' '.join(last)[:300]}")

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """Send a request; return the answer and how long it took, ms. A refusal is an error with its own words."""
        started = time.perf_counter()
        try:
            answer = self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"The service stopped answering ({error}); start `pond serve`.") from error
        took_ms = 1000 * (time.perf_counter() - started)
        found: dict[str, Any] = answer.json()
        if answer.is_error:
            raise ServiceUnreachable(f"The service refused {path}: {found.get('detail', answer.text)}")
        return found, took_ms

    def recommend(self, customer: str, scene: str, k: int = K) -> tuple[dict[str, Any], float]:
        """Ask for a slate."""
        return self.post("/v1/recommend", {"customer_id": customer, "scene": scene, "k": k})

    def bought(self, customer: str, item: str) -> None:
        """Tell of a purchase that happened just now."""
        now = datetime.now(UTC).isoformat()
        event = {
            "event_id": uuid.uuid4().hex, "customer_id": customer, "kind": "purchase", "at": now, "item_id": item,
            "order_id": uuid.uuid4().hex,
        }  # fmt: skip
        self.post("/v1/events", {"events": [event]})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


@dataclass(frozen=True)
class Show:
    """Prints slates with the names people know."""

    out: Console
    titles: Mapping[str, str]

    @classmethod
    def of(cls, out: Console, lake: Lake) -> "Show":
        """Read the names of the products."""
        rows = lake.scan("products").select("product_id", "title").collect().rows()
        return cls(out, {product: title or product for product, title in rows})

    def title(self, item: str) -> str:
        """Return a product's name, its id when it has none."""
        return self.titles.get(item, item)

    def slate(self, headline: str, answer: Mapping[str, Any], took_ms: float, fresh: Sequence[str] = ()) -> None:
        """Print one answer; items in `fresh` are marked as new in it."""
        rows = [
            (
                n, Text(self.title(i["item_id"]), "bold green" if i["item_id"] in fresh else "bold"),
                i["reason"]["en"], i["reason"]["zh"], i["stage"],
            )
            for n, i in enumerate(answer["items"], 1)
        ]  # fmt: skip
        cost = f"  {took_ms:.0f} ms, release {answer['release']}"
        self.out.print(Text.assemble("\n", (headline, "bold cyan"), (cost, "dim")))
        self.out.print(table(("", "product", "why", "理由", "stage"), rows))
        for note in answer["degraded"]:
            self.out.print(f"  degraded: {note}", style="yellow", markup=False)


def make_calls(backend: ShopBackend, guests: Guests, show: Show) -> None:
    """Ask for two regulars, a light customer and a stranger; look for similar products; buy something and ask again."""
    (first, n_first), (second, n_second) = guests.regulars
    light, n_light = guests.light
    home, took = backend.recommend(first, "home")
    show.slate(f"Customer {first}, a regular ({n_first} baskets): home", home, took)
    show.slate(
        f"Customer {second}, a regular ({n_second} baskets): next basket", *backend.recommend(second, "next_basket")
    )
    show.slate(f"Customer {light}, {n_light} baskets: home", *backend.recommend(light, "home"))
    show.slate("Somebody never seen: home", *backend.recommend(STRANGER, "home"))
    seen = home["items"][0]["item_id"]
    alike, took = backend.post("/v1/similar", {"item_ids": [seen], "k": K})
    show.slate(f"Similar to '{show.title(seen)}'", alike, took)
    before, took = backend.recommend(first, "discover")
    show.slate(f"Customer {first}: discover (nothing bought before)", before, took)
    bought = before["items"][0]["item_id"]
    backend.bought(first, bought)
    after, took = backend.recommend(first, "discover")
    old = {i["item_id"] for i in before["items"]}
    fresh = [i["item_id"] for i in after["items"] if i["item_id"] not in old]
    show.slate(f"Customer {first} just bought '{show.title(bought)}': discover again", after, took, fresh)
