"""`pond rebuild-live`: the live state made again from the lake, after the journal was drained to its last entry.

What is made: tails and exposures, remembered ids of events and decisions, profiles, consents, the live catalogue with
the journal that workers read it from, and its version. What is left as it stands: the other journals, tombstones,
aliases, and every field this file does not know. The order of work makes it safe to break off and to run again: the
shop is marked `rebuilding` first (no worker opens it then), what is derived is cleared, made, and the mark removed.

Watermarks stay true (docs/adr/0012): a partition that lost everything goes on in the life (epoch) the lake knows last,
its ids after the last one drained; a row of a tail carries the end of the range it was drained with, and a watermark is
always such an end. Rows of an earlier life than the partition's stand before all its ids.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from features import columns as c
from features.columns import EventKind, ItemKind
from features.commits import visible
from features.erasure import NOBODY_ERASED, Erased
from features.errors import UsageError
from features.lineage import lineage, of_parts
from service.drain import Drain
from service.journal import (
    CATALOGUE,
    FIELD,
    ZERO,
    EntryType,
    all_partitions,
    decode,
    encode,
    id_key,
    partition_of,
)  # fmt: skip
from service.live_state import (
    DAY_S,
    MARGIN_S,
    REBUILDING,
    digest_of,
    id_mark,
    lane_of,
    partition_prefix,
)  # fmt: skip
from service.lives import Lives, Source, Span, drained_lives, renumbered
from service.readings import FIELD as PULSE_FIELD
from service.readings import PULSE, lost_entries, readings_among
from service.settings import ServiceSettings
from service.shop_keys import ShopKeys
from service.state_client import Client, ask, state_errors
from service.tail import LiveEvent, encode_row, stamp

KINDS: Final = {EntryType.product: ItemKind.product, EntryType.content: ItemKind.content,
                EntryType.bundle: ItemKind.bundle}  # fmt: skip
Row: TypeAlias = tuple[dict[str, Any], Mapping[str, Span]]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was made again, by name."""

    counts: Mapping[str, int]


class Rebuilder:
    """Makes the live state of one shop again; the only one at work on it (see `pond.cli.upkeep`)."""

    def __init__(
        self, client: Client, settings: ServiceSettings, source: Source, now_us: int, erased: Erased = NOBODY_ERASED
    ) -> None:
        self._client, self._source, self._now_s = client, source, now_us // 1_000_000
        self._keys = ShopKeys(client, source.shop)
        self._settings, self._partitions = settings, settings.partitions
        self._remember_s = settings.dedupe_days * DAY_S + MARGIN_S
        self._tail_s = settings.tail_days * DAY_S
        self._counts = dict[str, int]()
        self._erased = erased
        self._last: dict[str, str] = {}
        self._lives = Lives({}, {})
        self._readings: list[tuple[int, str, int]] = []

    async def run(self, say: Callable[[str], None] = lambda _: None) -> Rebuilt:
        """Make everything again.

        Raises
        ------
        ServiceUnreachable, StorageFull, ArtifactCorrupt
            The shop stays marked and serves nobody until a run has ended well.
        """
        source = self._source
        await self._refuse_other_partitions()
        say("draining the journal")
        drain = Drain(self._client, source.shop, source.lake, source.rejects, self._partitions)
        while (await drain.run()).entries:
            pass
        await self._keys.ask("HSET", self._keys.of(CATALOGUE, "meta"), REBUILDING, "1", "partitions", self._partitions)
        self._lives = await self._settled_lives(await asyncio.to_thread(drained_lives, source.lake, self._partitions))
        say("clearing what is derived")
        await self._clear()
        await self._tombstones()
        steps: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("consents", self._consents), ("customers", self._customers), ("catalogue", self._catalogue),
            ("events", self._events), ("pulse", self._pulse), ("decisions", self._decisions),
        )  # fmt: skip
        for name, step in steps:
            say(f"making {name} again")
            await step()
            await self._keys.flush()
        for who, entry_id in self._last.items():
            await self._put(who, "last", entry_id)
        await self._keys.flush()
        await self._keys.ask("HDEL", self._keys.of(CATALOGUE, "meta"), REBUILDING)
        return Rebuilt(self._counts)

    # Lives

    async def _refuse_other_partitions(self) -> None:
        """A customer's partition is a hash modulo their number: with another one nobody is found."""
        said = await self._keys.ask("HGET", self._keys.of(CATALOGUE, "meta"), "partitions")
        drained = await asyncio.to_thread(drained_lives, self._source.lake, self._partitions)
        number = int(said) if said else max(len(drained) - 1, self._partitions)
        if number != self._partitions:
            raise UsageError(
                f"The shop '{self._source.shop}' has {number} partitions; set POND_PARTITIONS={number} and try again."
            )

    async def _settled_lives(self, drained: Mapping[str, Mapping[str, str]]) -> Lives:
        now: dict[str, str] = {}
        for p in all_partitions(self._partitions):
            journal, meta = self._keys.of(p, "journal"), self._keys.of(p, "meta")
            epoch = (await self._keys.ask("HGET", meta, "epoch") or b"").decode()
            known = list(drained[p])
            if known and epoch not in known and not await self._keys.ask("XLEN", journal):
                epoch = known[-1]
                await self._keys.ask("HSET", meta, "epoch", epoch)
            now[p] = epoch
            if epoch in known:
                await self._keys.raise_ids(journal, drained[p][epoch])
        return Lives(now, drained)

    # What is derived

    async def _clear(self) -> None:
        for p in all_partitions(self._partitions):
            prefix = partition_prefix(self._source.shop, p)
            async with state_errors():
                async for key in self._client.scan_iter(prefix + b"*", count=5_000):
                    kind = key[len(prefix) :].split(b":", 1)[0]
                    if kind in (b"t", b"x", b"e", b"d", b"m", b"rows"):
                        await self._keys.add("UNLINK", key)
                    elif kind == b"c":
                        fields = await ask(self._client, "HKEYS", key)
                        mine = [f for f in fields if f in (b"last", b"attr", b"off") or f.startswith(b"n:")]
                        if mine:
                            await self._keys.add("HDEL", key, *mine)
        await self._keys.flush()

    async def _tombstones(self) -> None:
        """Set them again where they were lost, in every partition: a digest does not tell its own."""
        for p in all_partitions(self._partitions):
            if self._erased.digests:
                await self._keys.ask("SADD", self._keys.of(p, "g"), *sorted(self._erased.digests))

    async def _consents(self) -> None:
        said: dict[tuple[str, str], tuple[int, str, str]] = {}
        for row, ranges in self._rows("consents"):
            who, purpose = row[c.CUSTOMER_ID], row["purpose"]
            channel = "" if purpose == "personalization" else row[c.CHANNEL] or ""
            key, before = (who, f"n:{purpose}:{channel}"), said.get((who, f"n:{purpose}:{channel}"))
            at, state = row[c.AT], row["state"]
            if before is None or at > before[0] or (at == before[0] and state == "off"):
                said[key] = (at, state, row["source"] or "")
            self._note(who, ranges)
        for (who, name), (at, state, source) in said.items():
            fields = [name, f"{at}|{state}|{source}"]
            if name == "n:personalization:":
                fields += ["off", "1" if state == "off" else "0"]
            await self._put(who, *fields)
        self._counts["consents"] = len(said)

    async def _customers(self) -> None:
        last: dict[str, tuple[dict[str, Any], Mapping[str, Span]]] = {}
        for row, ranges in self._rows("customers"):
            if ranges:  # what files said is in the release
                last[row[c.CUSTOMER_ID]] = (row, ranges)
        for who, (row, ranges) in last.items():
            await self._put(who, "attr", encode(EntryType.customer, row))
            await self._join(who, row.get("group_ids") or ())
            self._note(who, ranges)
        self._counts["customers"] = len(last)

    async def _events(self) -> None:
        newest: dict[bytes, int] = {}
        made = 0
        for row, ranges in self._rows("events", self._is_of_use):
            who = row[c.CUSTOMER_ID]
            p = partition_of(who, self._partitions)
            span = ranges.get(p)
            if span is None or who in self._erased:
                continue
            event, came_s = _event(row), id_key(span[2])[0] // 1_000
            await self._remember(p, b"e:" + id_mark(event.event_id), encode(EntryType.event, row), b"", came_s)
            if readings_among([event]):
                self._readings.append((id_key(span[1])[0], event.item_id or "", event.at))
            if self._lives.is_wanted(self._source, p, span):
                lane = self._keys.of(p, f"{lane_of(event.kind)}:{who}")
                await self._keys.add("RPUSH", lane, stamp(self._lives.id_of(p, span)) + encode_row(event))
                newest[lane] = max(came_s, newest.get(lane, 0))
                self._note(who, ranges)
                made += 1
        for lane, came_s in newest.items():
            await self._keys.add("LTRIM", lane, -self._settings.tail_rows, -1)
            await self._keys.add("EXPIREAT", lane, came_s + self._tail_s)
        self._counts["events"] = made

    async def _pulse(self) -> None:
        """Tell again what is being read, where that was lost; a stream that is there knows more than the lake."""
        key = self._keys.of(CATALOGUE, PULSE.decode())
        if not await self._keys.ask("EXISTS", key):
            for entry_id, body in lost_entries(self._readings):
                await self._keys.add("XADD", key, entry_id, PULSE_FIELD, body)

    async def _decisions(self) -> None:
        n = 0
        for row, ranges in self._rows("decisions", self._is_of_use):
            p = partition_of(row[c.CUSTOMER_ID], self._partitions)
            if (span := ranges.get(p)) is None:
                continue
            mark, came_s = b"d:" + row[c.DECISION_ID].encode(), id_key(span[2])[0] // 1_000
            await self._remember(p, mark, encode(EntryType.decision, row), ZERO.encode(), came_s)
            n += 1
        await self._keys.flush()
        for p in all_partitions(self._partitions):  # entries that are still in the journal are found there
            async for entry_id, fields in self._keys.entries(p):
                if (entry := decode(entry_id, fields)).type is EntryType.decision:
                    key = self._keys.of(p, f"d:{entry.row[c.DECISION_ID]}")
                    said = digest_of(encode(EntryType.decision, entry.row)) + entry_id
                    await self._keys.add("SET", key, said, "XX", "KEEPTTL")
        self._counts["decisions"] = n

    # The catalogue

    async def _catalogue(self) -> None:
        rows: dict[str, bytes] = {}
        lost: list[tuple[Span, bytes]] = []
        first = await self._keys.first_entry(CATALOGUE)
        for kind, item in KINDS.items():
            for row, ranges in self._rows(kind.value):
                if (span := ranges.get(CATALOGUE)) is None:
                    continue
                body = encode(kind, row)
                rows[f"{item.name}:{row[f'{item.name}_id']}"] = body
                is_lost = first is None or id_key(span[2]) < id_key(first)
                if is_lost and self._lives.is_wanted(self._source, CATALOGUE, span):
                    lost.append((span, body))
        for name, body in rows.items():
            await self._keys.add("HSET", self._keys.of(CATALOGUE, "rows"), name, body)
        await self._bring_back(lost)
        await self._tell_version()
        self._counts["catalogue"] = len(rows)

    async def _bring_back(self, lost: Sequence[tuple[Span, bytes]]) -> None:
        """Put entries before those of the catalogue's journal, which workers read above their release's watermark.

        Their own ids are not in the lake; new ones lie within the range each was drained with, in its order.
        """
        if not lost:
            return
        journal, fresh = self._keys.of(CATALOGUE, "journal"), self._keys.of(CATALOGUE, "journal.new")
        await self._keys.ask("UNLINK", fresh)
        for entry_id, body in renumbered(lost):
            await self._keys.add("XADD", fresh, entry_id, FIELD, body)
        async for known_id, fields in self._keys.entries(CATALOGUE):
            await self._keys.add("XADD", fresh, known_id, FIELD, fields[FIELD])
        await self._keys.flush()
        last = max((m[1] for m in self._lives.drained[CATALOGUE].items()), key=id_key, default=ZERO)
        await self._keys.raise_ids(fresh, last)
        await self._keys.ask("RENAME", fresh, journal)

    async def _tell_version(self) -> None:
        found = await self._keys.ask("XREVRANGE", self._keys.of(CATALOGUE, "journal"), "+", "-", "COUNT", 1)
        version = found[0][0].decode() if found else self._lives.drained[CATALOGUE].get(self._lives.now[CATALOGUE], "")
        for p in all_partitions(self._partitions) if version else ():
            await self._keys.add("HSET", self._keys.of(p, "meta"), "catalogue", version)

    # Small things

    def _rows(self, table: str, of_use: Callable[[Mapping[str, Span]], bool] = lambda _: True) -> Iterator[Row]:
        """Yield the rows of a table with the ranges they were drained with, in the order they came."""
        commits = self._source.lake.since_base(table)
        known = lineage(commits)
        for part in visible(commits):
            segments = of_parts([part], known)
            if not any(of_use(segment.ranges) for segment in segments):
                continue
            frame, start = self._source.lake.scan_part(table, part).collect(), 0
            for segment in segments:
                if of_use(segment.ranges):
                    for row in frame.slice(start, segment.rows).iter_rows(named=True):
                        yield row, segment.ranges
                start += segment.rows

    def _is_of_use(self, ranges: Mapping[str, Span]) -> bool:
        oldest = (self._now_s - self._remember_s) * 1_000
        return any(
            id_key(span[2])[0] > oldest or self._lives.is_wanted(self._source, p, span) for p, span in ranges.items()
        )

    def _note(self, who: str, ranges: Mapping[str, Span]) -> None:
        p = partition_of(who, self._partitions)
        if (span := ranges.get(p)) is not None and span[0] == self._lives.now[p]:
            self._last[who] = max(self._last.get(who, ZERO), span[2], key=id_key)

    async def _put(self, who: str, *fields: Any) -> None:
        if who not in self._erased:
            await self._keys.add("HSET", self._keys.of(partition_of(who, self._partitions), f"c:{who}"), *fields)

    async def _join(self, who: str, groups: Sequence[str]) -> None:
        if not groups or who in self._erased:
            return
        p = partition_of(who, self._partitions)
        for group in groups:
            await self._keys.add("SADD", self._keys.of(p, f"m:{group}"), who)
        await self._keys.add("HSET", self._keys.of(p, "m"), who, orjson.dumps(list(groups)))

    async def _remember(self, partition: str, mark: bytes, body: bytes, entry_id: bytes, came_s: int) -> None:
        left = self._remember_s - (self._now_s - came_s)
        if left > 0:
            key = partition_prefix(self._source.shop, partition) + mark
            await self._keys.add("SET", key, digest_of(body) + entry_id, "EX", left)


def _event(row: Mapping[str, Any]) -> LiveEvent:
    kinds = {c.KIND: EventKind[row[c.KIND]], c.ITEM_KIND: ItemKind[row[c.ITEM_KIND] or ItemKind.product.name]}
    return LiveEvent(**{**row, **kinds})
