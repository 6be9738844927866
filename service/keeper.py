"""The keeper: drains every shop's journal (service/drain.py), and trims and tidies what nobody needs any more.

One of all keepers is elected (a lease with a fencing token); that only spares the others the work, for a range cannot
be drained twice. What is removed is removed by the elected one alone: a token that is lower than one seen is refused.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import PondError, ServiceUnreachable
from features.lake import Lake
from features.watermarks import Watermark
from service import scripts
from service.compaction import tidied
from service.drain import TABLES, Drain, Fenced, go_on
from service.guardian import StateServer
from service.journal import lowest
from service.settings import ServiceSettings
from service.state_client import Client, Script, connect, state_errors

LEASE_MS: Final = 15_000
LAST_TRIES: Final = 5  # of the drain before the end, while the server or the disk is in trouble
LAST_PAUSE_S: Final = 1.0
TIDY_EVERY: Final = 60  # drains that wrote something, until small parts are merged
_LOCK: Final = (b"pond:v1:{keeper}:lock", b"pond:v1:{keeper}:token")
_log: Final = logging.getLogger("pond.keeper")


@dataclass(frozen=True, slots=True)
class Kept:
    """A shop in the keeper's care; `releases` tells the watermarks of those that serve or may be rolled back to.

    `care` is what else is done for it at each round: what files told the lake is brought, merges are ended.
    """

    shop: str
    lake: Lake
    rejects: Path
    releases: Callable[[], Sequence[Mapping[str, Watermark]]]
    care: Callable[[Client], Awaitable[None]] | None = None

    def floors(self) -> Mapping[str, Watermark]:
        """Return the lowest watermark of each partition now: what trimming must not pass."""
        return lowest(self.releases())


class Keeping:
    """What one keeper does for one shop: drain, trim, and merge what many small drains left."""

    def __init__(self, client: Client, kept: Kept, partitions: int) -> None:
        self._kept = kept
        self._drain = Drain(client, kept.shop, kept.lake, kept.rejects, partitions)
        self._until_tidy = TIDY_EVERY

    async def drain(self, maygo_on: Callable[[], Awaitable[bool]] = go_on) -> None:
        """Carry what the journal has to the lake."""
        done = await self._drain.run(maygo_on)
        self._until_tidy -= bool(done.entries)
        if done.entries:
            _log.info("shop %s: %d entries drained, %d refused", self._kept.shop, done.entries, done.refused)

    async def tidy(self, token: int) -> None:
        """Trim the journal, and now and then merge and sweep the lake's parts, without hurting who reads them."""
        releases = await asyncio.to_thread(self._kept.releases)
        await self._drain.trim(lowest(releases), token)
        if self._until_tidy <= 0:
            self._until_tidy = TIDY_EVERY
            gone = await asyncio.to_thread(tidied, self._kept.lake, TABLES, releases)
            _log.info("shop %s: %d parts of the lake merged, %d files swept", self._kept.shop, gone.merged, gone.swept)


class Election:
    """The lease that one keeper holds; `token` grows by one with every new holder."""

    def __init__(self, client: Client) -> None:
        self._client, self._owner, self.token = client, secrets.token_hex(8), 0
        self._elect, self._resign = Script(scripts.ELECT), Script(scripts.RESIGN)

    async def hold(self) -> bool:
        """Take or renew the lease; False while another holds it."""
        async with state_errors():
            self.token = int(await self._elect.run(self._client, _LOCK, (self._owner, LEASE_MS)))
        return self.token > 0

    async def resign(self) -> None:
        """Give the lease back, so that the next keeper need not wait for its end."""
        async with state_errors():
            await self._resign.run(self._client, _LOCK[:1], (self._owner,))


async def run_keeper(
    server: StateServer,
    settings: ServiceSettings,
    shops: Callable[[], Iterable[Kept]],
    stop: asyncio.Event,
    every_s: float = 1.0,
) -> None:
    """Drain and trim all shops every `every_s` seconds while elected; a last drain and resignation when `stop` is set.

    Trouble with one shop, the server or the disk is logged and tried again and keeps no other shop waiting; a bug ends
    the keeper with its error. The last drain needs no election: any number may drain, and nothing accepted is left.
    """
    client = connect(server, settings)
    election, keepings = Election(client), dict[str, Keeping]()
    try:
        while not await _is_set_within(stop, every_s):
            with _trouble("The keeper waits"):
                if await election.hold():
                    await _keep(client, settings, shops(), keepings, election)
        for _ in range(LAST_TRIES):  # what was accepted until the stop
            if await _drain_all(client, settings, shops(), keepings):
                break
            await asyncio.sleep(LAST_PAUSE_S)
    finally:
        with contextlib.suppress(ServiceUnreachable):
            await election.resign()
        await client.aclose()
        await client.connection_pool.disconnect()


async def _keep(
    client: Client, settings: ServiceSettings, shops: Iterable[Kept], keepings: dict[str, Keeping],
    election: Election,
) -> None:  # fmt: skip
    for kept in shops:
        keeping = keepings.setdefault(kept.shop, Keeping(client, kept, settings.partitions))
        with _trouble(f"The keeper waits, shop {kept.shop}"):
            if kept.care is not None:
                await kept.care(client)
            await keeping.drain(election.hold)
            if not await election.hold():
                return
            try:
                await keeping.tidy(election.token)
            except Fenced:
                _log.warning("shop %s: another keeper was elected meanwhile", kept.shop)
                return


async def _drain_all(
    client: Client, settings: ServiceSettings, shops: Iterable[Kept], keepings: dict[str, Keeping]
) -> bool:
    """Drain without an election; False when some shop has to be tried again."""
    done = 0
    every = list(shops)
    for kept in every:
        keeping = keepings.setdefault(kept.shop, Keeping(client, kept, settings.partitions))
        with _trouble(f"The keeper waits, shop {kept.shop}"):
            if kept.care is not None:
                await kept.care(client)
            await keeping.drain(go_on)
            done += 1
    return done == len(every)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


@contextlib.contextmanager
def _trouble(what: str) -> Iterator[None]:
    """Log what may pass, or needs an operator, and go on."""
    try:
        yield
    except PondError as error:
        _log.warning("%s: %s", what, error)
