"""A drain: the journal carried into the lake exactly once, by any number of processes at once (DESIGN §5).

It reads every partition above its resume point, which is the last range that a commit of the lake names, and commits
table by table, `events` last. Each commit is made *at* the log number after the last one read, so it can only succeed
if nobody else committed in between: two drains at once, or one that woke up late, cannot write a range twice. One that
dies between two tables leaves `events` behind; the next starts there and skips, table by table, what is already
committed. An emptied server has a new epoch, whose ids say nothing about the old one's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from features import columns as c
from features.durable import storage_errors
from features.lake import Lake
from features.lake_rewrite import JOURNAL_LOCK, held
from features.lineage import LATE
from features.watermarks import Watermark, ranges_meta, watermarks
from service import scripts
from service.journal import NOTHING_YET, ZERO, Entry, EntryType, all_partitions, decode, id_key
from service.lake_rows import typed, without_known
from service.live_state import partition_prefix
from service.state_client import Client, Script, ask, state_errors

BATCH: Final = 10_000  # entries of one partition in one commit
ANCHOR: Final = EntryType.event.value  # the table whose commit ends a drain
TABLES: Final = (*(kind.value for kind in EntryType if kind.value != ANCHOR), ANCHOR)


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did: entries read, rows written by table, events the lake had already, rows it refused."""

    entries: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    refused: int = 0


class Moved(Exception):
    """Another writer committed to the lake first; what was read must be read again."""


class Fenced(Exception):
    """Another keeper has been elected since; this one woke up late and must let go."""


async def go_on() -> bool:
    """Say yes: a drain that nothing limits."""
    return True


class Drain:
    """Carries one shop's journal to its lake; any number may run, in any number of processes."""

    def __init__(self, client: Client, shop: str, lake: Lake, rejects: Path, partitions: int) -> None:
        self._client, self._shop, self._lake, self._rejects = client, shop, lake, rejects
        self._partitions = all_partitions(partitions)
        self._seen = dict.fromkeys(TABLES, 0)
        self._marks: dict[str, dict[str, Watermark]] = {table: {} for table in TABLES}
        self._trim = Script(scripts.TRIM)

    async def run(self, may_go_on: Callable[[], Awaitable[bool]] = go_on) -> Drained:
        """Drain until every partition has been taken up to where it stood, or until `may_go_on` says no.

        It is asked between two commits: a keeper renews its election there, however much there is to catch up.

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
            was_full = any(len(found) == BATCH for found in entries.values())
            try:
                done = await asyncio.to_thread(self._commit, ranges, entries)
            except Moved:
                continue
            rows = {table: total.rows.get(table, 0) + done.rows.get(table, 0) for table in TABLES}
            total = Drained(
                total.entries + done.entries, rows, total.duplicates + done.duplicates, total.refused + done.refused
            )
            # What came while this was written is for the next run: a busy shop must not keep the others waiting.
            if not was_full or not await may_go_on():
                return total

    async def trim(self, floors: Mapping[str, Watermark], token: int = 0) -> int:
        """Remove entries that are in the lake and below every release's watermark (`lowest`); return how many.

        A partition without a floor is not trimmed. Each partition remembers the highest fencing `token` that trimmed
        it; one that is lower is refused.

        Raises
        ------
        Fenced
            A keeper elected later has trimmed already; nothing was removed from that partition on.
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
                done = await self._trim.run(
                    self._client, (prefix + b"journal", prefix + b"meta"), (floor.epoch, keep, token)
                )
            if done < 0:
                raise Fenced
            removed += done
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
        late = {e.row.get(c.EVENT_ID, "") for found in entries.values() for e in found if e.late}
        for table in TABLES:
            wanted = []
            for partition, found in entries.items():
                done = id_key(self._mark(table, partition, ranges[partition][0]))
                wanted += [dict(e.row) for e in found if e.type.value == table and id_key(e.id) > done]
            if not wanted and table != ANCHOR:
                continue
            frame, bad = typed(table, wanted)
            frame, again, conflicts = without_known(self._lake, table, frame)
            duplicates += again
            bad += conflicts
            if bad:
                self._refuse(table, bad)
            refused += len(bad)
            rows[table] = frame.height
            self._commit_table(table, frame, ranges, late if table == ANCHOR else set())
        return Drained(sum(map(len, entries.values())), rows, duplicates, refused)

    def _commit_table(
        self, table: str, frame: pl.DataFrame, ranges: Mapping[str, tuple[str, str, str]], late: set[str]
    ) -> None:
        parts, meta, number = [], ranges_meta(ranges), self._seen[table] + 1
        if late:  # in a part of their own: no live tail is ever made of them (features/lineage.py)
            is_late = pl.col(c.EVENT_ID).is_in(list(late))
            apart, frame = frame.filter(is_late), frame.filter(~is_late)
            if apart.height:
                parts.append(self._lake.write_part(table, apart))
                meta[LATE] = [parts[0].name]
        if frame.height:
            parts.append(self._lake.write_part(table, frame))
        if self._lake.commit_next(table, number, parts, source="journal", meta=meta) is None:
            for part in parts:
                (self._lake.root / table / part.name).unlink(missing_ok=True)
            raise Moved
        self._seen[table] = number
        self._marks[table].update({p: Watermark(epoch, last) for p, (epoch, _, last) in ranges.items()})

    def _refuse(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep what the lake cannot take, beside the rejects of ingestion."""
        lines = b"".join(orjson.dumps({"table": table, "row": row}) + b"\n" for row in rows)
        with storage_errors(self._rejects):
            self._rejects.mkdir(parents=True, exist_ok=True)
            with (self._rejects / "journal.jsonl").open("ab") as file:
                file.write(lines)
