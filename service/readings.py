"""The live pulse of contents: readings by anybody since the release, in a short stream of the shop.

    pond:v1:{<shop>:c}:pulse    stream: release, readings as [content id, moment, group of readers]

It names nobody: a group is one of some dozens that a release puts like readers into, so there is nothing to erase. It
is for freshness, not for accounts: a reading whose worker dies between the journal and this stream is not counted until
the next release, and the oldest readings fall off a stream that is full. A stream that was lost is made again from the
lake without the groups, which only a release can tell.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from features.columns import ItemKind
from models.contents.pulse import READING_KINDS, Readings
from service.journal import CATALOGUE
from service.live_state import LiveState, partition_prefix
from service.serving_set import ServingSet, ServingSets
from service.state_client import ask, state_errors
from service.tail import LiveEvent

KEPT: Final = 20_000  # entries of the stream, about
PER_ENTRY: Final = 500
AT_ONCE: Final = 2_000  # entries read in one round trip
LOOK_SECONDS: Final = 0.5  # at most this often does a worker look at a shop's stream
NO_RELEASE: Final = ""
PULSE: Final = b"pulse"
FIELD: Final = "r"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Readings above some id of the stream; `more` says that there are further ones."""

    readings: Readings
    last_id: str
    more: bool


def readings_among(events: Iterable[LiveEvent]) -> list[LiveEvent]:
    """Return those of some events that are readings of contents."""
    return [e for e in events if e.item_kind is ItemKind.content and e.item_id and e.kind in READING_KINDS]


async def tell_readings(state: LiveState, serving: ServingSet, events: Sequence[LiveEvent], now: int) -> None:
    """Put readings into a shop's stream, without their readers; what lies in the future (UTC µs) is told as now."""
    models = serving.models
    taste = serving.storefront.contents.model.taste
    told = [[e.item_id, min(e.at, now), taste.group(models.customers.ids.idx(e.customer_id))] for e in events]
    key = partition_prefix(serving.shop.name, CATALOGUE) + PULSE
    async with state_errors():
        for start in range(0, len(told), PER_ENTRY):
            body = orjson.dumps({"release": serving.release_id, "readings": told[start : start + PER_ENTRY]})
            await ask(state.client, "XADD", key, "MAXLEN", "~", KEPT, "*", FIELD, body)


def lost_entries(readings: Iterable[tuple[int, str, int]]) -> Iterator[tuple[str, bytes]]:
    """Yield the entries (id, body) of a lost stream from (ms at which it had certainly come, content id, UTC µs) each.

    An id is never later than the lost one was: a worker that goes on counts nothing twice.
    """
    newest = sorted(readings)[-KEPT * PER_ENTRY :]
    for number, start in enumerate(range(0, len(newest), PER_ENTRY)):
        some = newest[start : start + PER_ENTRY]
        body = {"release": NO_RELEASE, "readings": [[content_id, at, 0] for _, content_id, at in some]}
        yield f"{some[0][0]}-{number + 1}", orjson.dumps(body)


async def fresh_readings(state: LiveState, serving: ServingSet, after: str) -> Fresh:
    """Return the readings above an id of the stream that the serving release has not counted yet."""
    key = partition_prefix(serving.shop.name, CATALOGUE) + PULSE
    async with state_errors():
        found = await ask(state.client, "XRANGE", key, f"({after}", "+", "COUNT", AT_ONCE)
    idx_of = serving.storefront.contents.ids.idx
    rows: list[tuple[int, int, int]] = []
    for _, fields in found:
        told: dict[str, Any] = orjson.loads(_pairs(fields)[FIELD.encode()])
        # Another release's groups are other groups.
        is_own = told["release"] == serving.release_id
        for content_id, at, group in told["readings"]:
            idx = idx_of(content_id)
            if at >= serving.models.as_of and idx >= 0:
                rows.append((at, idx, group if is_own else 0))
    rows.sort()
    at, content_idx, group_of = np.array(rows, np.int64).reshape(len(rows), 3).T
    readings = Readings(content_idx.astype(np.int32), at, group_of.astype(np.int32))
    return Fresh(readings, found[-1][0].decode() if found else after, more=len(found) == AT_ONCE)


class PulseFollower:
    """Keeps what a worker serves at the shop's pulse, looking at it when contents are asked for."""

    def __init__(self, state: LiveState, sets: ServingSets) -> None:
        self._state, self._sets = state, sets
        self._looked: dict[tuple[str, str], float] = {}

    async def follow(self, serving: ServingSet) -> ServingSet:
        """Return the serving set with the readings of the last moments.

        Raises
        ------
        ServiceUnreachable
            The state server does not answer.
        """
        shop, more = serving.shop.name, True
        looked, now = self._looked.get((shop, serving.release_id), -LOOK_SECONDS), time.monotonic()
        if now - looked < LOOK_SECONDS:
            return serving
        self._looked = {key: at for key, at in self._looked.items() if key[0] != shop} | {
            (shop, serving.release_id): now
        }
        while more:
            fresh = await fresh_readings(self._state, serving, serving.pulse)
            current, more = self._sets.of(shop), fresh.more
            # Meanwhile the catalogue may have changed, another request may have counted these, or a release come.
            if (current.release_id, current.pulse) == (serving.release_id, serving.pulse):
                serving = current
            serving = self._sets.refresh(serving.having_read(fresh.readings, fresh.last_id))
        return serving


def _pairs(fields: Any) -> dict[bytes, bytes]:
    return fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
