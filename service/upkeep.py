"""Work on a home while no service runs on it: the live state made again (`pond rebuild-live`)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from features.erasure import read_erased
from features.errors import UsageError
from features.lake import Lake
from features.shop import Shop
from features.watermarks import read_watermarks
from models.release_store import DirectoryStore
from service.guardian import alone, start_or_join, stop
from service.keeper import LEASE_MS, Election
from service.lives import Source
from service.rebuild import Rebuilder, Rebuilt
from service.settings import ServiceSettings
from service.state_client import Client, connect

RENEW_SECONDS: Final = 5.0
ASK_SECONDS: Final = 0.5
WRITE_MS: Final = 60_000  # nobody waits for an answer: a busy server is given time


def source_of(shop: Shop) -> Source:
    """Return what a shop's live state is made from."""
    store = DirectoryStore(shop.releases_dir)
    manifests, current = store.list(), store.current_id()
    marks = {m.release_id: read_watermarks(m.watermarks) for m in manifests}
    return Source(
        shop.name, Lake(shop.lake_dir), shop.rejects_dir, tuple(marks.values()), marks.get(current) if current else None
    )


def rebuild_live(
    settings: ServiceSettings, shops: Iterable[Shop], now_us: int, say: Callable[[str], None]
) -> dict[str, Rebuilt]:
    """Make the live state of shops again; the embedded server is started for it and stopped afterwards.

    Raises
    ------
    UsageError
        A service runs, or the shop has another number of partitions.
    ServiceUnreachable, StorageFull, ReleaseError
        What was begun is marked; running again makes it whole.
    """
    settings = settings.model_copy(update={
        "write_ms": max(settings.write_ms, WRITE_MS), "connect_ms": max(settings.connect_ms, 5_000),
    })  # fmt: skip
    with alone(settings):
        made = asyncio.run(_rebuild(settings, list(shops), now_us, say))
    stop(settings)
    return made


async def _rebuild(
    settings: ServiceSettings, shops: list[Shop], now_us: int, say: Callable[[str], None]
) -> dict[str, Rebuilt]:
    client = connect(await asyncio.to_thread(start_or_join, settings), settings)
    made: dict[str, Rebuilt] = {}
    try:
        async with _only_keeper(client, say):
            for shop in shops:
                source = await asyncio.to_thread(source_of, shop)
                made[shop.name] = await Rebuilder(client, settings, source, now_us, read_erased(shop)).run(
                    lambda what, name=shop.name: say(f"{name}: {what}")  # type: ignore[misc] # the name is bound now
                )
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()
    return made


@contextlib.asynccontextmanager
async def _only_keeper(client: Client, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the keeper's election; a lease that a killed keeper left is waited for, one that is renewed refuses us."""
    election, waited = Election(client), 0.0
    while not await election.hold():
        if not waited:
            say("waiting for a keeper's lease to end")
        if waited > LEASE_MS / 1e3 + 1:
            raise UsageError("A service uses this state server; stop it (Ctrl-C or SIGTERM) and try again.")
        await asyncio.sleep(ASK_SECONDS)
        waited += ASK_SECONDS

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await election.hold()

    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await election.resign()
