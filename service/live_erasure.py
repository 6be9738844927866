"""A person in the live state: what is known of him, and forgetting it so that it neither is read nor comes back."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from features import columns as c
from features.erasure import DIGEST_BYTES, Erased
from features.person import Person
from service import scripts
from service.journal import Entry, EntryType, all_partitions, decode, encode, partition_of
from service.live_state import LiveState, partition_prefix
from service.state_client import Script, ask, state_errors

CHUNK: Final = 2_000


@dataclass(frozen=True, slots=True)
class Mention:
    """A journal entry that is about a person, or names him in somebody else's."""

    partition: str
    entry: Entry
    is_own: bool


async def forget(state: LiveState, shop: str, ids: Sequence[str]) -> int:
    """Set a person's tombstones and delete his keys, each id in one step; return how many keys went.

    From here on his events, profile and consents are refused, nothing of him is read, and a decision made of him that
    is not logged yet is made anew without him.
    """
    script, gone = Script(scripts.FORGET), 0
    for customer_id in ids:
        prefix = partition_prefix(shop, partition_of(customer_id, state.partitions))
        arguments = (prefix, state.tomb(shop, customer_id), customer_id)
        async with state_errors():
            gone += int(await script.run(state.client, (prefix + b"meta", prefix + b"g"), arguments))
            await ask(state.client, "HDEL", prefix + b"merging", *ids)
    return gone


async def restore_tombstones(state: LiveState, erased: Erased) -> None:
    """Set the tombstones of a shop again in a live state that was emptied or made anew (`ControlPlane.erased`).

    A digest does not tell its partition, so it goes to all of them.
    """
    if not erased.digests:
        return
    if any(len(digest) != DIGEST_BYTES for digest in erased.digests):
        raise ValueError("not digests of erased customers")
    for partition in all_partitions(state.partitions):
        async with state_errors():
            await ask(state.client, "SADD", partition_prefix(erased.shop, partition) + b"g", *sorted(erased.digests))


async def mentions(state: LiveState, shop: str, person: Person) -> AsyncIterator[Mention]:
    """Yield every journal entry that is about a person or names him, partition by partition, oldest first."""
    for partition in all_partitions(state.partitions):
        async for entry in entries(state, shop, partition):
            row = entry.row
            if row.get(c.CUSTOMER_ID) in person.ids:
                yield Mention(partition, entry, is_own=True)
            elif unnamed(person, row) != dict(row):
                yield Mention(partition, entry, is_own=False)


async def entries(state: LiveState, shop: str, partition: str) -> AsyncIterator[Entry]:
    """Yield a partition's journal as it stands, oldest first."""
    key, after = partition_prefix(shop, partition) + b"journal", "-"
    while True:
        async with state_errors():
            found = await ask(state.client, "XRANGE", key, after, "+", "COUNT", CHUNK)
        for one in found:
            yield decode(*one)
        if len(found) < CHUNK:
            return
        after = f"({found[-1][0].decode()}"


def unnamed(person: Person, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return somebody else's row without its mention of a person; JSON that does not name him keeps its text."""
    clean: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("inviter_id", "advisor_id") and value in person.ids:
            continue
        is_json = name in (c.PROPS, "attributes", "body") and isinstance(value, str)
        clean[name] = person.unnamed_json(value) if is_json else value
    return clean


async def remove_entries(state: LiveState, shop: str, found: Iterable[Mention]) -> int:
    """Delete entries from their streams, and the marks of decisions among them; return how many."""
    script, gone = Script(scripts.REMOVE_ENTRIES), 0
    by_partition: dict[str, list[Entry]] = {}
    for one in found:
        by_partition.setdefault(one.partition, []).append(one.entry)
    for partition, those in by_partition.items():
        prefix = partition_prefix(shop, partition)
        for start in range(0, len(those), CHUNK):
            arguments: list[Any] = [prefix]
            for entry in those[start : start + CHUNK]:
                is_decision = entry.type is EntryType.decision
                arguments += [entry.id, entry.row[c.DECISION_ID] if is_decision else ""]
            async with state_errors():
                gone += int(await script.run(state.client, (prefix + b"journal",), arguments))
    return gone


async def clean_profiles(state: LiveState, shop: str, customer_ids: Iterable[str], person: Person) -> int:
    """Take a person out of some other customers' live profiles; return how many named him."""
    script, changed = Script(scripts.REPLACE_PROFILE), 0
    for customer_id in customer_ids:
        key = partition_prefix(shop, partition_of(customer_id, state.partitions)) + b"c:" + customer_id.encode()
        async with state_errors():
            body = await ask(state.client, "HGET", key, "attr")
            if body is None:
                continue
            row = orjson.loads(body)["row"]
            clean = unnamed(person, row)
            if clean != row:
                changed += int(await script.run(state.client, (key,), (body, encode(EntryType.customer, clean))))
    return changed


async def aliases_of(state: LiveState, shop: str, canonical: str, candidates: Iterable[str]) -> list[str]:
    """Return those of some identities that the live state takes for a customer, and those he has taken in there."""
    known = await live_record(state, shop, canonical)
    taken_in = [name.removeprefix("was:") for name in known.fields if name.startswith("was:")]
    found = []
    for one in dict.fromkeys([*candidates, *taken_in]):
        key = partition_prefix(shop, partition_of(one, state.partitions)) + b"c:" + one.encode()
        async with state_errors():
            alias = await ask(state.client, "HGET", key, "alias")
        if one in taken_in or (alias is not None and alias.decode() == canonical):
            found.append(one)
    return found


@dataclass(frozen=True, eq=False, slots=True)
class LiveRecord:
    """Everything the live state keeps under one id, whatever consent says: fields, and rows of service/tail.py."""

    fields: Mapping[str, str]
    tail: bytes
    exposures: bytes


async def live_record(state: LiveState, shop: str, customer_id: str) -> LiveRecord:
    """Read everything under one id; for the customer himself, never for a decision."""
    prefix, who = partition_prefix(shop, partition_of(customer_id, state.partitions)), customer_id.encode()
    async with state_errors():
        fields = await ask(state.client, "HGETALL", prefix + b"c:" + who)
        lanes = [await ask(state.client, "LRANGE", prefix + lane + who, 0, -1) for lane in (b"t:", b"x:")]
    return LiveRecord(
        {name.decode(): value.decode() for name, value in fields.items()}, b"".join(lanes[0]), b"".join(lanes[1])
    )
