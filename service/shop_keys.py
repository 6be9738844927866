"""The keys of one shop's live state, for whoever makes many of them anew: many commands to a round trip."""

from collections.abc import AsyncIterator
from typing import Any, Final

from service.journal import FIELD, id_key
from service.live_state import partition_prefix
from service.state_client import Client, ask, state_errors

AT_ONCE: Final = 2_000  # commands in one round trip


class ShopKeys:
    """Names, asks and changes the keys of a shop; what is gathered with `add` is sent `AT_ONCE` together."""

    def __init__(self, client: Client, shop: str) -> None:
        self._client, self._shop = client, shop
        self._waiting: list[tuple[Any, ...]] = []

    def of(self, partition: str, name: str) -> bytes:
        """Return the name of a key."""
        return partition_prefix(self._shop, partition) + name.encode()

    async def ask(self, *command: Any) -> Any:
        """Send one command now."""
        async with state_errors():
            return await ask(self._client, *command)

    async def add(self, *command: Any) -> None:
        """Gather one command."""
        self._waiting.append(command)
        if len(self._waiting) >= AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Send what was gathered."""
        if self._waiting:
            async with state_errors(), self._client.pipeline(transaction=False) as pipe:
                for command in self._waiting:
                    pipe.execute_command(*command)
                self._waiting = []
                await pipe.execute()

    async def first_entry(self, partition: str) -> str | None:
        """Return the id of the oldest entry of a journal, None where there is none."""
        found = await self.ask("XRANGE", self.of(partition, "journal"), "-", "+", "COUNT", 1)
        return found[0][0].decode() if found else None

    async def entries(self, partition: str) -> AsyncIterator[tuple[bytes, Any]]:
        """Yield a journal as it stands, oldest first."""
        start = "-"
        while found := await self.ask("XRANGE", self.of(partition, "journal"), start, "+", "COUNT", AT_ONCE):
            for entry in found:
                yield entry
            start = f"({found[-1][0].decode()}"

    async def raise_ids(self, journal: bytes, least: str) -> None:
        """Let the next entry come after `least`: the keeper skips what it takes for drained."""
        if not await self.ask("EXISTS", journal):
            await self.ask("XADD", journal, least, FIELD, b"")
            await self.ask("XDEL", journal, least)
            return
        found = await self.ask("XINFO", "STREAM", journal)
        last = dict(zip(found[::2], found[1::2], strict=True))[b"last-generated-id"].decode()
        if id_key(last) < id_key(least):
            await self.ask("XSETID", journal, least)
