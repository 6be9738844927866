"""Two ids become one person: a merge in two journalled steps, on the partitions of both (DESIGN §5, Keys).

1. *Absorb*, where the customer who stays lives: the stricter of both words per purpose and channel, the profile if he
   has none, and a note `was:<other>` by which every later read also reads what happened under the other id.
2. *Alias*, where the other id lives: its entry in the journal (table `identities`), and from then on every read and
   every write that names it goes to the customer who stays.

Nothing is copied that could be copied twice or lost: live tail and exposures stay where they were written, under their
partition's watermark, and are read along; the release's history likewise, until a training joins both. Between the
steps an event under the other id lands in its old tail, which is read along already. `merging` on the partition of the
customer who stays remembers a merge from its first step to its end: whoever runs it again, the caller or the keeper,
finishes it. Words said between the steps are absorbed after the second.
"""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from features.consents import PERSONALIZATION, Word, later
from features.errors import ServiceUnreachable
from service import scripts
from service.customer_state import ALIAS_FIELD, PROFILES, Status, field_of_word, words_of
from service.journal import EntryType, encode, partition_of
from service.live_state import LiveState, partition_prefix
from service.state_client import Script, ask, state_errors

ATTEMPTS: Final = 20  # a word may be said in the moment between reading and absorbing; twenty in a row are not


class MergeOutcome(enum.StrEnum):
    """What became of a merge."""

    merged = "merged"
    already = "already"  # they were one person before
    same = "same"  # both ids are the same text
    circle = "circle"  # the one who should stay is another id of the one who should go
    taken = "taken"  # the id is another id of a third customer
    erased = "erased"  # one of them was erased


@dataclass(frozen=True, slots=True)
class Merged:
    """`customer_id` is the canonical id of the customer who stays, `other` the id that now is another one of his."""

    outcome: MergeOutcome
    customer_id: str
    other: str


def strictest(mine: Word, other: Word) -> Word:
    """Return the stricter of two words: `off` before `on`, said at the later of both moments so that it holds."""
    if mine.state == other.state:
        return max(mine, other, key=lambda word: word.at)
    off = other if mine.is_on else mine
    return Word(max(mine.at, other.at), off.state, off.source)


class Merges:
    """Merges of one server's shops; any number may run, in any number of processes."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._absorb, self._alias = Script(scripts.ABSORB), Script(scripts.ALIAS)
        self._retarget, self._end = Script(scripts.RETARGET), Script(scripts.END_MERGE)

    async def merge(
        self, shop: str, other: str, into: str, id_type: str, *, in_lake: bool = False
    ) -> Merged:  # fmt: skip
        """Make `other` another id of the customer `into`, or say why not; running it again is harmless.

        `id_type` is what kind of id it is (openid, card, phone …; `features.identities.MERGED` for a customer).
        `in_lake`: the lake has the identity from a merge that was done before; it is not journalled again.
        """
        found = await self._how_they_stand(shop, other, into)
        if found.outcome is MergeOutcome.already:
            await self._finish(shop, other, found.customer_id)
        if found.outcome is not MergeOutcome.merged:
            return found
        return await self._merge(shop, other, found.customer_id, id_type, in_lake=in_lake)

    async def absorb(self, shop: str, other: str, into: str, id_type: str, *, in_lake: bool = False) -> bool:
        """Take the first step; False when one of the two is no longer who it was."""
        for _ in range(ATTEMPTS):
            theirs, mine = await self._fields(shop, other), await self._fields(shop, into)
            if ALIAS_FIELD in mine or await self._state.is_erased(shop, other):
                return False
            is_one = in_lake or f"was:{other}".encode() in mine
            changes = _changes(into, mine, theirs, later if is_one else strictest)
            ids = [name for name in (other, *_other_ids(theirs)) if name != into]
            if not changes and all(f"was:{name}".encode() in mine for name in ids):
                return True
            prefix = self._prefix(shop, into)
            keys = (
                prefix + b"journal", prefix + b"meta", prefix + b"c:" + into.encode(), prefix + b"merging",
                prefix + b"g",
            )  # fmt: skip
            remembered = orjson.dumps({"into": into, "id_type": id_type})
            tomb = self._state.tomb(shop, into)
            arguments = (self._state.epoch, other, len(ids), *ids, remembered, *changes, tomb)
            async with state_errors():
                answer = await self._absorb.run(self._state.client, keys, arguments)
            if answer != b"R":
                return answer[:1] not in (b"A", b"E")
        return False

    async def alias(self, shop: str, other: str, into: str, id_type: str, *, in_lake: bool = False) -> bytes:
        """Take the second step; the answer is that of `scripts.ALIAS`."""
        prefix = self._prefix(shop, other)
        row = {"id_type": id_type, "id_value": other, "customer_id": into}
        body = b"" if in_lake else encode(EntryType.identity, row)
        keys = (prefix + b"journal", prefix + b"meta", prefix + b"c:" + other.encode(), prefix + b"g")
        arguments = (self._state.epoch, into, body, self._state.tomb(shop, other))
        async with state_errors():
            answer: bytes = await self._alias.run(self._state.client, keys, arguments)
        return answer

    async def finish_all(self, shop: str) -> int:
        """Finish the merges of a shop that were begun and not ended; return how many there were."""
        keys = [partition_prefix(shop, str(p)) + b"merging" for p in range(self._state.partitions)]
        async with state_errors(), self._state.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hgetall(key)
            begun = [pair for found in await pipe.execute() for pair in found.items()]
        for other, remembered in begun:
            said = orjson.loads(remembered)
            await self._merge(shop, other.decode(), said["into"], said["id_type"])
        return len(begun)

    async def _merge(self, shop: str, other: str, into: str, id_type: str, *, in_lake: bool = False) -> Merged:
        is_absorbed = await self.absorb(shop, other, into, id_type, in_lake=in_lake)
        if is_absorbed and await self.alias(shop, other, into, id_type, in_lake=in_lake) in (b"S", b"D"):
            await self._finish(shop, other, into)
            return Merged(MergeOutcome.merged, into, other)
        # Another merge came between: what the first step noted is taken back.
        ids = [other, *_other_ids(await self._fields(shop, other))]
        await self._end_merge(shop, other, into, ids)
        found = await self._how_they_stand(shop, other, into)
        if found.outcome is MergeOutcome.merged:
            raise ServiceUnreachable("Others merge the same customers at this moment; try again shortly.")
        return found

    async def _finish(self, shop: str, other: str, into: str) -> None:
        """Absorb what was said between the steps, cut chains short, and forget that the merge was under way."""
        prefix = self._prefix(shop, into)
        async with state_errors():
            remembered = await ask(self._state.client, "HGET", prefix + b"merging", other)
        if remembered is None:
            return
        await self.absorb(shop, other, into, orjson.loads(remembered)["id_type"])
        for name in _other_ids(await self._fields(shop, other)):
            key = self._prefix(shop, name) + b"c:" + name.encode()
            async with state_errors():
                await self._retarget.run(self._state.client, (key,), (other, into))
        await self._end_merge(shop, other, into)

    async def _end_merge(self, shop: str, other: str, into: str, taken_back: Sequence[str] = ()) -> None:
        prefix = self._prefix(shop, into)
        keys = (prefix + b"c:" + into.encode(), prefix + b"merging")
        async with state_errors():
            await self._end.run(self._state.client, keys, (other, *taken_back))

    async def _how_they_stand(self, shop: str, other: str, into: str) -> Merged:
        """Say what keeps two from being merged; `merged` when nothing does."""
        if other == into:
            return Merged(MergeOutcome.same, into, other)
        goes, stays = await self._state.read(shop, other), await self._state.read(shop, into)
        if Status.gone in (goes.status, stays.status):
            return Merged(MergeOutcome.erased, stays.customer_id, other)
        if goes.customer_id == stays.customer_id:
            outcome = MergeOutcome.circle if stays.customer_id == other else MergeOutcome.already
            return Merged(outcome, stays.customer_id, other)
        outcome = MergeOutcome.merged if goes.customer_id == other else MergeOutcome.taken
        return Merged(outcome, stays.customer_id if outcome is MergeOutcome.merged else goes.customer_id, other)

    def _prefix(self, shop: str, customer_id: str) -> bytes:
        return partition_prefix(shop, partition_of(customer_id, self._state.partitions))

    async def _fields(self, shop: str, customer_id: str) -> dict[bytes, bytes]:
        async with state_errors():
            key = self._prefix(shop, customer_id) + b"c:" + customer_id.encode()
            found: dict[bytes, bytes] = await ask(self._state.client, "HGETALL", key)
        return found


def _other_ids(fields: Mapping[bytes, bytes]) -> list[str]:
    return [name[4:].decode() for name in fields if name.startswith(b"was:")]


def _changes(
    into: str, mine: Mapping[bytes, bytes], theirs: Mapping[bytes, bytes], holds: Callable[[Word, Word], Word]
) -> list[Any]:  # fmt: skip
    """Return, flat, what absorbing changes: name, value expected, new value, journal bytes.

    `holds` chooses between two words. Of those who were one person before, the later holds, as always: what the merge
    decided then is among the words of the one who stayed.
    """
    changes: list[Any] = []
    own = words_of(mine)
    for (purpose, channel), said in words_of(theirs).items():
        before = own.get((purpose, channel))
        word = said if before is None else holds(before, said)
        if word == before:
            continue
        name = field_of_word(purpose, channel)
        row = {
            "customer_id": into, "purpose": purpose, "channel": channel or None, "at": word.at, "state": word.state,
            "source": word.source or None,
        }  # fmt: skip
        live = f"{word.at}|{word.state}|{word.source}".encode()
        changes += [name, mine.get(name, b""), live, encode(EntryType.consent, row)]
        if purpose == PERSONALIZATION:
            changes += [b"off", mine.get(b"off", b""), b"0" if word.is_on else b"1", b""]
    profile = _latest_profile([*(mine.get(n) for n in PROFILES[1:]), *(theirs.get(n) for n in PROFILES)])
    if profile and profile != mine.get(PROFILES[1]):
        changes += [PROFILES[1], mine.get(PROFILES[1], b""), profile, b""]
    return changes


def _latest_profile(bodies: Iterable[bytes | None]) -> bytes | None:
    known = [body for body in bodies if body]
    return max(known, key=lambda body: int(orjson.loads(body)["row"].get("valid_from") or 0)) if known else None
