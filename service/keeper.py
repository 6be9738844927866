"""The keeper: carries the journal into the lake exactly once, and trims what nobody needs any more.

A drain reads every partition above its resume point, which is the last range that a commit of the lake names, and
commits table by table, `events` last. Each commit is made *at* the log number after the last one read, so it can only
succeed if no other keeper committed in between: two keepers at once, or one that woke up late, cannot write a range
twice, and the election (a lease with a fencing token) only spares them the work. A keeper that dies between two
tables leaves `events` behind; the next drain starts there and skips, table by table, what is already committed. An
emptied server has a new epoch, whose ids say nothing about the old one's.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from features import columns as c
from features.contracts import Meaning, table_named
from features.errors import ServiceUnreachable, StorageFull
from features.lake import Lake, storage_errors
from features.lake_rewrite import JOURNAL_LOCK, held
from features.watermarks import Watermark, ranges_meta, watermarks
from service import scripts
from service.guardian import StateServer
from service.journal import NOTHING_YET, ZERO, Entry, EntryType, all_partitions, decode, id_key
from service.live_state import partition_prefix
from service.settings import ServiceSettings
from service.state_client import Client, Script, ask, connect, state_errors

BATCH: Final = 10_000  # entries of one partition in one commit
LEASE_MS: Final = 15_000
ANCHOR: Final = EntryType.event.value  # the table whose commit ends a drain
TABLES: Final = (*(kind.value for kind in EntryType if kind.value != ANCHOR), ANCHOR)
_LOCK: Final = (b"pond:v1:{keeper}:lock", b"pond:v1:{keeper}:token")
_log: Final = logging.getLogger("pond.keeper")


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did: entries read, rows written by table, events the lake had already, rows it refused."""

    entries: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    refused: int = 0


class Moved(Exception):
    """Another writer committed to the lake first; what was read must be read again."""


class Drain:
    """Carries one shop's journal to its lake; any number may run, in any number of processes."""

    def __init__(self, client: Client, shop: str, lake: Lake, rejects: Path, partitions: int) -> None:
        self._client, self._shop, self._lake, self._rejects = client, shop, lake, rejects
        self._partitions = all_partitions(partitions)
        self._seen = dict.fromkeys(TABLES, 0)
        self._marks: dict[str, dict[str, Watermark]] = {table: {} for table in TABLES}
        self._trim = Script(scripts.TRIM)

    async def run(self) -> Drained:
        """Drain until every partition has been taken up to where it stood.

        Raises
        ------
        ServiceUnreachable, StorageFull, ArtifactCorrupt
            Nothing is half-written and nothing is lost: the next run goes on from the last commit.
        """
        total = Drained()
        while True:
            await asyncio.to_thread(self._read_marks)
            ranges, entries = await self._pending()
            if not entries:
                return total
            try:
                done = await asyncio.to_thread(self._commit, ranges, entries)
            except Moved:
                continue
            rows = {table: total.rows.get(table, 0) + done.rows.get(table, 0) for table in TABLES}
            total = Drained(
                total.entries + done.entries, rows, total.duplicates + done.duplicates, total.refused + done.refused
            )

    async def trim(self, floors: Mapping[str, Watermark]) -> int:
        """Remove entries that are in the lake and below every release's watermark (`lowest`); return how many.

        A partition without a floor is not trimmed.
        """
        await asyncio.to_thread(self._read_marks)
        removed = 0
        for partition, floor in floors.items():
            drained = self._marks[ANCHOR].get(partition, NOTHING_YET)
            if drained.epoch != floor.epoch:
                continue
            keep = min(drained.id, floor.id, key=id_key)
            prefix = partition_prefix(self._shop, partition)
            async with state_errors():
                removed += await self._trim.run(
                    self._client, (prefix + b"journal", prefix + b"meta"), (floor.epoch, keep)
                )
        return removed

    def _read_marks(self) -> None:
        for table in TABLES:
            commits = self._lake.commits(table, self._seen[table])
            self._marks[table].update(watermarks(commits))
            if commits:
                self._seen[table] = commits[-1].number

    async def _pending(self) -> tuple[dict[str, tuple[str, str, str]], dict[str, list[Entry]]]:
        """Read each partition above its resume point: (epoch, first, last) and the entries, only where there are."""
        ranges: dict[str, tuple[str, str, str]] = {}
        entries: dict[str, list[Entry]] = {}
        for partition in self._partitions:
            async with state_errors():
                epoch, found = await self._above(partition)
            if found:
                entries[partition] = [decode(*entry) for entry in found]
                ranges[partition] = (epoch, entries[partition][0].id, entries[partition][-1].id)
        return ranges, entries

    async def _above(self, partition: str) -> tuple[str, list[tuple[bytes, Any]]]:
        """Read a partition's epoch and its entries above the resume point.

        A journal may begin, or begin anew, between the two looks; entries under another epoch than theirs would be
        drained again under their own. Epochs are never used twice: the same one before and after is the entries'.
        """
        prefix = partition_prefix(self._shop, partition)
        while True:
            epoch = await ask(self._client, "HGET", prefix + b"meta", "epoch") or b""
            start = self._mark(ANCHOR, partition, epoch.decode())
            found = await ask(self._client, "XRANGE", prefix + b"journal", f"({start}", "+", "COUNT", BATCH)
            if not found or epoch == await ask(self._client, "HGET", prefix + b"meta", "epoch"):
                return epoch.decode(), found

    def _mark(self, table: str, partition: str, epoch: str) -> str:
        mark = self._marks[table].get(partition, NOTHING_YET)
        return mark.id if mark.epoch == epoch else ZERO

    def _commit(self, ranges: Mapping[str, tuple[str, str, str]], entries: Mapping[str, list[Entry]]) -> Drained:
        # An erasure that rewrote a table since the journal was read has removed entries that are still in hand here:
        # under its lock nothing of them is written, not even to a file that no commit names.
        with held(self._lake.root / JOURNAL_LOCK):
            if any(self._lake.last_number(table) != self._seen[table] for table in TABLES):
                raise Moved
            return self._commit_tables(ranges, entries)

    def _commit_tables(self, ranges: Mapping[str, tuple[str, str, str]], entries: Mapping[str, list[Entry]]) -> Drained:
        rows, duplicates, refused = {}, 0, 0
        for table in TABLES:
            wanted = []
            for partition, found in entries.items():
                done = id_key(self._mark(table, partition, ranges[partition][0]))
                wanted += [dict(e.row) for e in found if e.type.value == table and id_key(e.id) > done]
            if not wanted and table != ANCHOR:
                continue
            frame, bad = _frame(table, wanted)
            if table == ANCHOR:
                frame, again, conflicts = self._without_known(frame)
                duplicates += again
                bad += conflicts
            if bad:
                self._refuse(table, bad)
            refused += len(bad)
            rows[table] = frame.height
            self._commit_table(table, frame, ranges)
        return Drained(sum(map(len, entries.values())), rows, duplicates, refused)

    def _commit_table(self, table: str, frame: pl.DataFrame, ranges: Mapping[str, tuple[str, str, str]]) -> None:
        parts = [self._lake.write_part(table, frame)] if frame.height else []
        number = self._seen[table] + 1
        if self._lake.commit_next(table, number, parts, source="journal", meta=ranges_meta(ranges)) is None:
            for part in parts:
                (self._lake.root / table / part.name).unlink(missing_ok=True)
            raise Moved
        self._seen[table] = number
        self._marks[table].update({p: Watermark(epoch, last) for p, (epoch, _, last) in ranges.items()})

    def _without_known(self, events: pl.DataFrame) -> tuple[pl.DataFrame, int, list[dict[str, Any]]]:
        """Drop events whose id the lake holds: (new ones, equal ones, those that contradict the lake).

        Needed for late events and after the server was emptied, when ids are no longer remembered; the time range lets
        Parquet skip what cannot match, so that it costs little for events of today.
        """
        if not events.height:
            return events, 0, []
        first = events.unique(c.EVENT_ID, keep="first", maintain_order=True)
        near = pl.col(c.AT).is_between(events[c.AT].min(), events[c.AT].max())
        known = (
            self._lake.scan(ANCHOR)
            .filter(near & pl.col(c.EVENT_ID).is_in(first[c.EVENT_ID].implode()))
            .collect()
            .unique(c.EVENT_ID)
        )
        new = first.join(known, on=c.EVENT_ID, how="anti", maintain_order="left")
        settled = pl.concat([known, new])
        equal = events.join(settled, on=events.columns, how="semi", nulls_equal=True).height - new.height
        against = events.join(settled, on=events.columns, how="anti", nulls_equal=True, maintain_order="left")
        return new, equal, against.to_dicts()

    def _refuse(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep what the lake cannot take, beside the rejects of ingestion."""
        lines = b"".join(orjson.dumps({"table": table, "row": row}) + b"\n" for row in rows)
        with storage_errors(self._rejects):
            self._rejects.mkdir(parents=True, exist_ok=True)
            with (self._rejects / "journal.jsonl").open("ab") as file:
                file.write(lines)


def _frame(table: str, rows: list[dict[str, Any]]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Return the rows with the contract's types, and those that do not have them (Polars would make them null)."""
    columns = table_named(table).columns
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for row in rows:
        (good if all(_fits(row.get(column.name), column.meaning) for column in columns) else bad).append(row)
    return pl.DataFrame(good, schema=table_named(table).schema), bad


def _fits(value: Any, meaning: Meaning) -> bool:
    if value is None:
        return True
    if meaning == "list":
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    if meaning in ("moment", "whole"):
        bits = 63 if meaning == "moment" else 31
        return isinstance(value, int) and not isinstance(value, bool) and -(2**bits) <= value < 2**bits
    if meaning == "amount":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Kept:
    """A shop in the keeper's care; `floors` tells the lowest watermarks of its mounted releases now."""

    shop: str
    lake: Lake
    rejects: Path
    floors: Callable[[], Mapping[str, Watermark]]


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

    Trouble of the server or the disk is logged and tried again; anything else ends the keeper with that error.
    """
    client = connect(server, settings)
    election, drains = Election(client), dict[str, Drain]()
    try:
        stopping = False
        while not stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every_s)
            stopping = stop.is_set()  # once more after the stop: what was accepted until then
            try:
                if await election.hold():
                    await _keep(client, settings, shops(), drains, election)
            except (ServiceUnreachable, StorageFull) as error:
                _log.warning("The keeper waits: %s", error)
        with contextlib.suppress(ServiceUnreachable):
            await election.resign()
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()


async def _keep(
    client: Client, settings: ServiceSettings, shops: Iterable[Kept], drains: dict[str, Drain], election: Election
) -> None:
    for kept in shops:
        if kept.shop not in drains:
            drains[kept.shop] = Drain(client, kept.shop, kept.lake, kept.rejects, settings.partitions)
        done = await drains[kept.shop].run()
        if done.entries:
            _log.info("shop %s: %d entries drained, %d refused", kept.shop, done.entries, done.refused)
        if not await election.hold():
            return
        await drains[kept.shop].trim(kept.floors())
