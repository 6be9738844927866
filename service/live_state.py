"""Live state: what happened since the release was made, one atomic step per change, one round trip per read.

Keys, all of a partition in one hash slot (DESIGN §5):

    pond:v1:{<shop>:<p>}:journal    stream of entries (service/journal.py)
    pond:v1:{<shop>:<p>}:meta       hash: epoch, fence (highest token that trimmed), counters a decision
                                    must see (catalogue, …); of `c` also partitions, format, rebuilding, erasure_key
    pond:v1:{<shop>:<p>}:c:<id>     hash: last, attr, n:<purpose>:<channel> (consent), off, alias, was:<other id>
    pond:v1:{<shop>:<p>}:m          hash: customer → groups his live profile names; …:m:<group>  set: those customers
    pond:v1:{<shop>:<p>}:g          set: keyed digests of customers who were erased (service/live_erasure.py)
    pond:v1:{<shop>:<p>}:merging    hash: other id → a merge that was begun (service/merges.py)
    pond:v1:{<shop>:<p>}:t:<id>     list: live tail (service/tail.py)      …:x:<id>  list: exposures, same rows
    pond:v1:{<shop>:<p>}:e:<hash>   digest of an event, for as long as its id is remembered
    pond:v1:{<shop>:<p>}:d:<id>     digest and stream id of a decision
    pond:v1:{<shop>:c}:rows         hash: kind:id → latest entry of the catalogue since the release
    pond:v1:{<shop>:c}:pulse        stream: readings of contents, naming nobody (service/readings.py)

`p` is the hash of the canonical customer id modulo the shop's partitions; `c` holds what belongs to the shop.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from features.columns import EventKind, ItemKind
from features.consents import PERSONALIZATION
from features.erasure import digest_of as digest_of_person
from features.errors import ReleaseError, UsageError
from features.person import REFERENCES
from features.watermarks import Watermark
from service import scripts
from service.customer_state import (
    Catalogue,
    CustomerState,
    Decision,
    EventResult,
    Outcome,
    Status,
    field_of_word,
)  # fmt: skip
from service.journal import (
    CATALOGUE,
    FIELD,
    NOTHING_YET,
    ZERO,
    Entry,
    EntryType,
    all_partitions,
    decode,
    encode,
    partition_of,
)
from service.settings import ServiceSettings
from service.state_client import Client, Script, ask, state_errors
from service.tail import LiveEvent, encode_row

DAY_S: Final = 86_400
LONGEST_CHAIN: Final = 100  # of aliases while a merge is under way; its end cuts them short
# An id outlives the time in which its event is not late by this: one day for clocks that run ahead (an event's `at` may
# lie that far in the future), one for clocks of workers and server that differ. A retry is either known or late.
MARGIN_S: Final = 2 * DAY_S
REBUILDING: Final = "rebuilding"  # a field of the shop's meta while `pond rebuild-live` is at work, or was broken off
FORMAT: Final = 1  # of the live keys; stands in every shop's meta
ATOMIC_EVENTS: Final = 250  # events per script: about 1.5 ms in which the server answers nobody else
_WORDS: Final[dict[bytes, Outcome]] = {b"D": "duplicate", b"C": "conflict", b"E": "rejected"}
TYPE_OF: Final = {
    ItemKind.product: EntryType.product, ItemKind.content: EntryType.content, ItemKind.bundle: EntryType.bundle,
}  # fmt: skip


def now_us() -> int:
    """The clock, UTC µs."""
    return time.time_ns() // 1_000


def partition_prefix(shop: str, partition: str) -> bytes:
    """What every key of a partition begins with."""
    return f"pond:v1:{{{shop}:{partition}}}:".encode()


def mint_decision_id(customer_id: str, partitions: int) -> str:
    """Return a new decision id that also says which partition holds it, so that it can be found by itself."""
    return f"{int(partition_of(customer_id, partitions)):03x}{secrets.token_hex(14)}"


def digest_of(content: bytes) -> bytes:
    """Return what is remembered of an event's or decision's content."""
    return blake2b(content, digest_size=8).digest()


def id_mark(event_id: str) -> bytes:
    """Return the name under which an event's id is remembered."""
    return blake2b(event_id.encode(), digest_size=16).digest()


class LiveState:
    """The live state of all shops on one server (or cluster); one object a worker.

    Every method raises `ServiceUnreachable` when the server does not answer in time and `StorageFull` when it has no
    room; after either, what was sent may or may not be stored, and sending it again is harmless.
    """

    def __init__(self, client: Client, settings: ServiceSettings, key: bytes = b"") -> None:
        self.client = client
        self._key = key  # of the digests by which erased customers are known (`Receipts.key`)
        self.partitions = settings.partitions
        self._settings = settings
        self.epoch = secrets.token_hex(8)  # becomes a partition's epoch only where none stands
        self._dedupe_s = settings.dedupe_days * DAY_S
        self._remember_s = self._dedupe_s + MARGIN_S
        self._append = Script(scripts.APPEND_EVENTS)
        self._read = Script(scripts.READ)
        self._read_tail = Script(scripts.READ_TAIL)
        self._log = Script(scripts.LOG_DECISION)
        self._customer = Script(scripts.PUT_CUSTOMER)
        self._consent = Script(scripts.PUT_CONSENT)
        self._catalogue = Script(scripts.PUT_CATALOGUE)
        self._announce = Script(scripts.ANNOUNCE)

    async def open_shop(self, shop: str) -> None:
        """Check that the shop's state is whole, of this format and this number of partitions; note these if it is new.

        Raises
        ------
        UsageError
            Another number of partitions, a rebuild that was broken off, or another control database's erasures; the
            sentence says what to do.
        ReleaseError
            The state is of a newer Pond.
        """
        key, mark = partition_prefix(shop, CATALOGUE) + b"meta", digest_of_person(self._key, shop, "")
        async with state_errors():
            for name, value in (("partitions", self.partitions), ("format", FORMAT), ("erasure_key", mark)):
                await ask(self.client, "HSETNX", key, name, value)
            said = await ask(self.client, "HMGET", key, "partitions", "format", REBUILDING, "erasure_key")
        found, version = int(said[0]), int(said[1])
        if version > FORMAT:
            raise ReleaseError(
                f"The live state of the shop '{shop}' has format {version}, newer than {FORMAT}; upgrade Pond."
            )
        if said[2]:
            raise UsageError(
                f"The live state of the shop '{shop}' is half rebuilt; run `pond rebuild-live --shop {shop}` again."
            )
        if said[3] != mark:
            raise UsageError(
                f"The live state of the shop '{shop}' was made with another control database, so who was erased cannot "
                "be recognized; restore the control database that belongs to it."
            )
        if found != self.partitions:
            raise UsageError(
                f"The shop '{shop}' has {found} partitions and cannot be read with {self.partitions}; "
                f"set POND_PARTITIONS={found}."
            )

    def tomb(self, shop: str, customer_id: str) -> bytes:
        """Return the digest under which a customer's tombstone stands."""
        return digest_of_person(self._key, shop, customer_id)

    async def is_erased(self, shop: str, customer_id: str) -> bool:
        """Whether a customer's tombstone stands."""
        key = partition_prefix(shop, partition_of(customer_id, self.partitions)) + b"g"
        async with state_errors():
            return bool(await ask(self.client, "SISMEMBER", key, self.tomb(shop, customer_id)))

    async def read(self, shop: str, customer_id: str, after: Mapping[str, Watermark] | None = None) -> CustomerState:
        """Return what is known of a customer above the release's watermarks, in one round trip.

        One more for an alias, one more for a person with several ids: what happened under the others is read along.
        With personalization off nothing but consent is read; of an erased customer, nothing at all.
        """
        marks, asked = after or {}, {customer_id}
        state = await self._read_once(shop, customer_id, marks)
        while state.alias and state.alias not in asked:
            asked.add(state.alias)
            state = await self._read_once(shop, state.alias, marks)
        if not (state.is_personal and state.other_ids):
            return replace(state, trips=len(asked))
        calls = []
        for name in state.other_ids:
            prefix, mark = self._of(shop, name, marks)
            who = name.encode()
            calls.append(((prefix + b"t:" + who, prefix + b"x:" + who, prefix + b"meta"), (mark.epoch, mark.id)))
        async with state_errors(), asyncio.timeout(self._settings.read_ms / 1e3):
            tails = await self._read_tail.run_many(self.client, calls)
        return state.along_with([(tail, exposures) for tail, exposures in tails], len(asked) + 1)

    def _of(self, shop: str, customer_id: str, after: Mapping[str, Watermark]) -> tuple[bytes, Watermark]:
        partition = partition_of(customer_id, self.partitions)
        return partition_prefix(shop, partition), after.get(partition, NOTHING_YET)

    async def _read_once(self, shop: str, customer_id: str, after: Mapping[str, Watermark]) -> CustomerState:
        prefix, mark = self._of(shop, customer_id, after)
        who = customer_id.encode()
        keys = (prefix + b"c:" + who, prefix + b"t:" + who, prefix + b"x:" + who, prefix + b"meta", prefix + b"g")
        async with state_errors(), asyncio.timeout(self._settings.read_ms / 1e3):
            status, epoch, fields, meta, tail, exposures = await self._read.run(
                self.client, keys, (mark.epoch, mark.id, self.tomb(shop, customer_id))
            )
        return CustomerState(
            customer_id, Status(status.decode()), epoch.decode(), _pairs(fields), _pairs(meta), tail, exposures
        )

    async def append_events(self, shop: str, events: Sequence[LiveEvent], now: int | None = None) -> list[EventResult]:
        """Store events, each in one step with its journal entry; the results are in the order of `events`.

        The same id with the same content is a `duplicate`, with other content a `conflict`, while ids are remembered
        (`dedupe_days` and two days more). Events older than `dedupe_days` are `late`: in the journal, and in no tail;
        the keeper compares them with the lake, and those it lacks count from the next release on. Events of an erased
        customer are `rejected`. Conflicts between two customers' events of one id lie in two partitions; the keeper
        finds those.
        """
        oldest = (now_us() if now is None else now) - self._dedupe_s * 1_000_000
        answers = await self._append_once(shop, events, oldest)
        events = list(events)
        for _ in range(LONGEST_CHAIN):
            moved = [i for i, answer in enumerate(answers) if answer[:1] == b"A"]
            if not moved:
                break
            for i in moved:
                events[i] = replace(events[i], customer_id=answers[i][1:].decode())
            again = await self._append_once(shop, [events[i] for i in moved], oldest)
            for i, answer in zip(moved, again, strict=True):
                answers[i] = answer
        return [
            EventResult(event.event_id, _WORDS.get(answer, "stored"), answer.decode() if len(answer) > 1 else "",
                        late=event.at < oldest)
            for event, answer in zip(events, answers, strict=True)
        ]  # fmt: skip

    async def _append_once(self, shop: str, events: Sequence[LiveEvent], oldest: int) -> list[bytes]:
        groups: dict[str, list[int]] = {}
        for i, event in enumerate(events):
            groups.setdefault(partition_of(event.customer_id, self.partitions), []).append(i)
        chunks = [
            (partition, group[start : start + ATOMIC_EVENTS])
            for partition, group in groups.items()
            for start in range(0, len(group), ATOMIC_EVENTS)
        ]
        calls = []
        for partition, chunk in chunks:
            prefix = partition_prefix(shop, partition)
            arguments: list[Any] = [
                prefix, self.epoch, self._remember_s, self._settings.tail_rows, self._settings.tail_days * DAY_S,
            ]  # fmt: skip
            for i in chunk:
                arguments += _event_arguments(events[i], oldest)
                arguments.append(self.tomb(shop, events[i].customer_id))
            calls.append(((prefix + b"journal", prefix + b"meta"), arguments))
        async with state_errors():
            if len(calls) == 1:
                found = [await self._append.run(self.client, *calls[0])]
            else:
                found = await self._append.run_many(self.client, calls)
        answers = [b""] * len(events)
        for (_, chunk), results in zip(chunks, found, strict=True):
            for i, answer in zip(chunk, results, strict=True):
                answers[i] = answer
        return answers

    async def log_decision(self, shop: str, decision: Decision) -> Outcome:
        """Store a decision before it is answered; its id comes from `mint_decision_id` for the same customer.

        `rejected` when the customer has been erased since he was read: what was made of him must not be answered.
        """
        partition = partition_of(decision.customer_id, self.partitions)
        if int(decision.decision_id[:3], 16) != int(partition):
            raise ValueError("the decision id was minted for another customer's partition")
        prefix = partition_prefix(shop, partition)
        body = encode(EntryType.decision, decision.row())
        keys = (prefix + b"journal", prefix + b"meta", prefix + b"d:" + decision.decision_id.encode(), prefix + b"g")
        tomb = self.tomb(shop, decision.customer_id)
        async with state_errors(), asyncio.timeout(self._settings.read_ms / 1e3):
            answer = await self._log.run(self.client, keys, (self.epoch, digest_of(body), body, self._remember_s, tomb))
        return _WORDS.get(answer, "stored")

    async def get_decision(self, shop: str, decision_id: str) -> Mapping[str, Any] | None:
        """Return a decision's row while its entry is in the journal, else None (the lake may have it)."""
        try:
            prefix = partition_prefix(shop, str(int(decision_id[:3], 16)))
        except ValueError:
            return None
        async with state_errors():
            mark = await ask(self.client, "GET", prefix + b"d:" + decision_id.encode())
            found = await ask(self.client, "XRANGE", prefix + b"journal", mark[8:], mark[8:]) if mark else []
        return decode(*found[0]).row if found else None

    async def put_customer(self, shop: str, row: Mapping[str, Any], *, in_lake: bool = False) -> Outcome:
        """Store a new version of a customer (columns of the table `customers`, `valid_from` included).

        `in_lake`: the row comes from the lake, so it is not journalled and replaces nothing that is newer.
        An inviter or advisor who was erased is not named again.
        """
        customer_id = str(row["customer_id"])
        for name in REFERENCES:
            if row.get(name) and await self.is_erased(shop, str(row[name])):
                row = {**row, name: None}
        body = encode(EntryType.customer, row)
        arguments = (b"" if in_lake else body, "attr", body, row.get("valid_from") or 0)
        answer = await self._put(self._customer, shop, customer_id, arguments)
        if answer[:1] == b"A":
            return await self.put_customer(shop, {**row, "customer_id": answer[1:].decode()}, in_lake=in_lake)
        return _WORDS.get(answer, "stored")

    async def put_consent(self, shop: str, row: Mapping[str, Any], *, in_lake: bool = False) -> Outcome:
        """Store a customer's word on a purpose and channel (columns of the table `consents`); the latest `at` holds.

        `personalization` is one word for all channels. `in_lake`: the word comes from the lake and is not journalled;
        one that changes nothing is a `duplicate`.
        """
        customer_id, purpose, state = str(row["customer_id"]), str(row["purpose"]), str(row["state"])
        channel = "" if purpose == PERSONALIZATION else row.get("channel") or ""
        live = f"{row['at']}|{state}|{row.get('source') or ''}"
        body = b"" if in_lake else encode(EntryType.consent, row)
        arguments = (body, field_of_word(purpose, channel), row["at"], state, live, purpose)
        answer = await self._put(self._consent, shop, customer_id, arguments)
        if answer[:1] == b"A":
            return await self.put_consent(shop, {**row, "customer_id": answer[1:].decode()}, in_lake=in_lake)
        return _WORDS.get(answer, "stored")

    async def _put(self, script: Script, shop: str, customer_id: str, arguments: tuple[Any, ...]) -> bytes:
        prefix = partition_prefix(shop, partition_of(customer_id, self.partitions))
        keys = (prefix + b"journal", prefix + b"meta", prefix + b"c:" + customer_id.encode(), prefix + b"g")
        tomb = self.tomb(shop, customer_id)
        async with state_errors():
            answer: bytes = await script.run(self.client, keys, (self.epoch, *arguments, tomb))
        return answer

    async def put_catalogue(self, shop: str, kind: ItemKind, rows: Sequence[Mapping[str, Any]]) -> str:
        """Store new versions of products, contents or bundles and return the catalogue's new version.

        When it returns, every customer's next read on any worker carries a version at least this high. Failing half
        way leaves rows that nobody is told of until the call is repeated, which is harmless.
        """
        prefix, entry, key = partition_prefix(shop, CATALOGUE), TYPE_OF[kind], f"{kind.name}_id"
        version = b""
        async with state_errors():
            for start in range(0, len(rows), ATOMIC_EVENTS):
                arguments: list[Any] = [self.epoch]
                for row in rows[start : start + ATOMIC_EVENTS]:
                    arguments += (f"{kind.name}:{row[key]}", encode(entry, row))
                keys = (prefix + b"journal", prefix + b"meta", prefix + b"rows")
                version = await self._catalogue.run(self.client, keys, arguments)
        if version:
            await self.announce(shop, "catalogue", version.decode())
        return version.decode()

    async def announce(self, shop: str, counter: str, version: str) -> None:
        """Raise a counter (`catalogue`, `rules`, …) that every decision of the shop sees in its read."""
        calls = [((partition_prefix(shop, p) + b"meta",), (counter, version)) for p in all_partitions(self.partitions)]
        async with state_errors():
            await self._announce.run_many(self.client, calls)

    async def catalogue_changes(self, shop: str, after: str = ZERO, limit: int = 10_000) -> Catalogue:
        """Return the changes above a version, oldest first; ask again from `version` while `more`."""
        prefix = partition_prefix(shop, CATALOGUE)
        async with state_errors():
            found = await ask(self.client, "XRANGE", prefix + b"journal", f"({after}", "+", "COUNT", limit)
        entries = tuple(decode(*entry) for entry in found)
        return Catalogue(entries, entries[-1].id if entries else after, more=len(entries) == limit)

    async def catalogue_rows(self, shop: str, kind: ItemKind, ids: Iterable[str]) -> list[Entry | None]:
        """Return the latest live rows of some items, None where nothing came in live."""
        fields = [f"{kind.name}:{item_id}" for item_id in ids]
        if not fields:
            return []
        async with state_errors():
            found = await ask(self.client, "HMGET", partition_prefix(shop, CATALOGUE) + b"rows", *fields)
        return [decode(ZERO.encode(), {FIELD: body}) if body else None for body in found]

    async def ping(self) -> None:
        """Raise `ServiceUnreachable` unless the server answers within the deadline of a read."""
        async with state_errors(), asyncio.timeout(self._settings.read_ms / 1e3):
            await self.client.ping()

    async def close(self) -> None:
        """Give the connections back."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


def _event_arguments(event: LiveEvent, oldest: int) -> tuple[bytes | str, ...]:
    # The digest is of the content alone: a retry is the same event, late or not.
    body, is_late = encode(EntryType.event, event.row()), event.at < oldest
    entry = encode(EntryType.event, event.row(), late=True) if is_late else body
    row = b"" if is_late else encode_row(event)
    return id_mark(event.event_id), digest_of(body), event.customer_id, entry, row, lane_of(event.kind)


def lane_of(kind: EventKind) -> str:
    """Return which list of a customer an event goes to: `x` exposures, `t` the tail."""
    return "x" if kind == EventKind.impression else "t"


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
