"""Promoted releases are picked up while requests go on: look at the pointer, load in a thread, warm, swap.

A release that cannot be loaded, belongs to another shop or does not answer is refused: the one before goes on serving,
the refusal is logged and counted, and it is tried again after a while or when the pointer moves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from features.errors import PondError, ServiceUnreachable
from features.shop import Shop, open_shop, shop_names
from models.release_store import DirectoryStore
from service.observe import Metrics
from service.serving_set import ServingSet, ServingSets

POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 30.0
Overlay = Callable[[ServingSet], Awaitable[ServingSet]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A release that could not serve, and until when it is left alone (monotonic seconds)."""

    release_id: str
    until: float


class Reloader:
    """Keeps the serving sets of a worker at what the shops' pointers say.

    `overlay` puts the live catalogue over a freshly loaded release; when the state server is away, the release serves
    with the catalogue it was trained with, and the live state is looked at as soon as the server is back.
    """

    def __init__(
        self, home: Path, sets: ServingSets, metrics: Metrics, overlay: Overlay, clock: Callable[[], int]
    ) -> None:  # fmt: skip
        self._home, self._sets, self._metrics, self._overlay, self._clock = home, sets, metrics, overlay, clock
        self._refused: dict[str, Refusal] = {}
        self._bare: set[str] = set()  # shops that began to serve while their live state could not be read
        self._log = structlog.get_logger("pond.service")

    async def run(self) -> None:
        """Look at the pointers for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look once at every shop's pointer and follow it."""
        names = await asyncio.to_thread(shop_names, self._home)
        self._sets.drop_except(names)
        for name in names:
            try:
                shop = await asyncio.to_thread(open_shop, self._home, name)
            except (PondError, OSError) as error:  # it keeps what it serves; the other shops are not its business
                self._log.warning("shop_unreadable", shop=name, error=str(error))
                continue
            await self._follow(shop)

    def refusal(self, shop: str) -> Refusal | None:
        """Return the release the pointer names but that could not serve."""
        return self._refused.get(shop)

    async def _follow(self, shop: Shop) -> None:
        serving, wanted = self._sets.release_id(shop.name), ""
        try:
            wanted = DirectoryStore(shop.releases_dir).current_id() or ""
            if wanted == serving:
                self._refused.pop(shop.name, None)
            if serving:
                self._sets.swap(self._sets.of(shop.name).under(shop))
            if serving and wanted == serving and shop.name in self._bare:
                await self._read_late(shop.name)
            if not wanted or wanted == serving or self._is_left_alone(shop.name, wanted):
                return
            await self._serve(shop, wanted)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a release, the one before goes on serving
            self._refuse(shop.name, wanted, error)
            if serving is None and wanted:
                await self._serve_earlier(shop)
            return
        self._refused.pop(shop.name, None)

    async def _serve(self, shop: Shop, release_id: str) -> None:
        before = self._sets.release_id(shop.name)
        fresh = await asyncio.to_thread(self._loaded, shop, release_id)
        try:
            fresh = await self._overlay(fresh)
            self._bare.discard(shop.name)
        except ServiceUnreachable as error:
            self._bare.add(shop.name)
            self._log.warning("catalogue_not_read", shop=shop.name, error=str(error))
        self._sets.swap(fresh)
        self._metrics.count_swap(shop.name, before, release_id)
        self._log.info("release_serves", shop=shop.name, release=release_id, before=before)

    async def _read_late(self, shop: str) -> None:
        """Read the live state that could not be read before; one that must not be used ends the serving after all."""
        try:
            self._sets.refresh(await self._overlay(self._sets.of(shop)))
        except ServiceUnreachable:
            return
        except PondError:
            self._sets.drop(shop)
            raise
        self._bare.discard(shop)
        self._log.info("catalogue_read_late", shop=shop)

    async def _serve_earlier(self, shop: Shop) -> None:
        """Let the newest earlier release serve that can: a worker that has just started holds none in memory."""
        for release_id in DirectoryStore(shop.releases_dir).earlier_ids():
            try:
                await self._serve(shop, release_id)
            except Exception as error:  # noqa: BLE001 - as above; the next one may be whole
                self._log.warning("earlier_release_refused", shop=shop.name, release=release_id, error=str(error))
            else:
                return

    def _loaded(self, shop: Shop, release_id: str) -> ServingSet:
        fresh = ServingSet.of(shop, DirectoryStore(shop.releases_dir).load(release_id))
        fresh.warm(self._clock())
        return fresh

    def _is_left_alone(self, shop: str, release_id: str) -> bool:
        refused = self._refused.get(shop)
        return refused is not None and refused.release_id == release_id and time.monotonic() < refused.until

    def _refuse(self, shop: str, release_id: str, error: Exception) -> None:
        if self._is_left_alone(shop, release_id):
            return
        self._refused[shop] = Refusal(release_id, time.monotonic() + RETRY_SECONDS)
        self._metrics.reload_failures.labels(shop).inc()
        trace = None if isinstance(error, PondError) else error
        self._log.error("release_refused", shop=shop, release=release_id, error=str(error), exc_info=trace)
