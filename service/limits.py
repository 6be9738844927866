"""Requests a second per key: one count for all workers, on the state server (ADR 14).

A key with a rate pays one small round trip per request; a key without one, the default, pays nothing. While the state
server is away each worker counts by itself, so that a limit stays a limit and answers go on.

The rule is the generic cell rate algorithm (ITU-T I.371): a request is let in while the moment at which the requests
let in so far would have come evenly lies at most one second's worth ahead.
"""

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Final

from features.errors import ServiceUnreachable, StorageFull
from service.auth import Caller
from service.problems import RateExceeded
from service.settings import ServiceSettings
from service.state_client import Client, Script, state_errors

# Times are µs of the server's clock. A request that is refused leaves no trace, so impatience is not punished.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = due - now - (burst - 1) * interval
if wait > 0 then return math.ceil(wait) end
due = due + interval
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
return 0
"""


@dataclass(eq=False)
class RateLimiter:
    """Lets the requests of limited keys in at their rate; one object a worker."""

    client: Client
    settings: ServiceSettings
    _take: Script = field(default_factory=lambda: Script(_TAKE))
    _due: dict[str, float] = field(default_factory=dict)

    async def admit(self, caller: Caller) -> None:
        """Count one request of a caller's key, or raise `RateExceeded`."""
        if caller.rate is None:
            return
        interval, burst = 1e6 / caller.rate, math.ceil(caller.rate)
        try:
            async with state_errors(), asyncio.timeout(self.settings.read_ms / 1e3):
                wait = await self._take.run(self.client, [f"pond:v1:rate:{caller.key_id}".encode()], (interval, burst))
        except (ServiceUnreachable, StorageFull):
            wait = self._counted_here(caller.key_id, interval, burst)
        if wait > 0:
            raise RateExceeded(caller.rate, max(1, math.ceil(wait / 1e6)))

    def _counted_here(self, key_id: str, interval: float, burst: int) -> float:
        now = time.monotonic_ns() / 1e3
        due = max(self._due.get(key_id, 0.0), now)
        wait = due - now - (burst - 1) * interval
        if wait <= 0:
            self._due[key_id] = due + interval
        return wait
