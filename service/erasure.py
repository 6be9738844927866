"""Erasing a person: the steps in their order, each of which may be run again (ADR 10).

First the receipt and the tombstones, so that nothing comes back while the rest goes on; then the journal, the lake,
the files, the releases, the state server's own files. What training keeps elsewhere (MLflow) is done by
`training/forget.py`; `pond erase` runs both, and only then is the receipt `done`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import polars as pl

from features import columns as c
from features.contracts import TABLES
from features.erasure import Erased, write_erased
from features.lake import Lake
from features.lake_rewrite import held, rewrite_without
from features.person import REFERENCES, Person
from features.shop import Shop
from models.release import load_release
from models.release_store import DirectoryStore
from service.control import ControlPlane
from service.drain import TABLES as JOURNAL_TABLES
from service.drain import Drain
from service.files_of import LOCK, FilesOf
from service.journal import EntryType
from service.live_erasure import aliases_of, clean_profiles, forget, mentions, remove_entries
from service.live_state import LiveState
from service.problems import NotKept
from service.receipts import Receipt
from service.settings import ServiceSettings
from service.spool import clean_spool
from service.state_files import rewrite_files
from service.unfinished import forget_ids, note, strike


@dataclass(frozen=True, eq=False)
class Erasing:
    """What an erasure works on."""

    settings: ServiceSettings
    shop: Shop
    control: ControlPlane
    state: LiveState

    @property
    def lake(self) -> Lake:
        """The shop's tables, looked at anew."""
        return Lake(self.shop.lake_dir)

    @property
    def store(self) -> DirectoryStore:
        """The shop's releases."""
        return DirectoryStore(self.shop.releases_dir)

    @property
    def erased(self) -> Erased:
        """Whom the shop has erased."""
        return self.control.erased(self.shop.name)


@dataclass(frozen=True)
class Outcome:
    """What a run removed, by place; `waiting` says in sentences what could not be done yet."""

    counts: Mapping[str, int]
    waiting: tuple[str, ...] = ()


async def begin(erasing: Erasing, ids: list[str], actor: str) -> Receipt:
    """Open the receipt of a person (`person_of`) and set the tombstones; from here on he is refused everywhere.

    What is begun is written down first (service/unfinished.py): whoever dies on the way, the keeper sees to the end.

    Raises
    ------
    NotKept
        Nothing is known of the customer and nothing was ever erased under these ids.
    """
    digests = [erasing.state.tomb(erasing.shop.name, one) for one in ids]
    receipts = erasing.control.receipts
    if await asyncio.to_thread(receipts.of, erasing.shop.name, digests) is None and not await knows(erasing, ids):
        raise NotKept("customer")
    await asyncio.to_thread(note, erasing.shop, digests[0], ids)
    receipt = await asyncio.to_thread(receipts.begin, erasing.shop.name, actor, digests)
    await asyncio.to_thread(write_erased, erasing.shop, erasing.erased)
    gone = await forget(erasing.state, erasing.shop.name, ids)
    return await asyncio.to_thread(receipts.finish, receipt, {"live keys": gone}, done=False)


async def person_of(erasing: Erasing, customer_id: str) -> list[str]:
    """Return all ids of a person, the canonical one first.

    Identities say which ids may be his, the live state which of them are; when an erasure has already taken them from
    the live state, its receipt says it.
    """
    state, name = erasing.state, erasing.shop.name
    canonical = (await state.read(name, customer_id)).customer_id
    candidates = await asyncio.to_thread(_identities, erasing.lake, [canonical, customer_id])
    receipt = await asyncio.to_thread(erasing.control.receipts.of, name, [state.tomb(name, customer_id)])
    known = set(receipt.digests) if receipt else set()
    his = [one for one in candidates if state.tomb(name, one) in known]
    his += await aliases_of(state, name, canonical, [one for one in candidates if one not in his])
    return list(dict.fromkeys([canonical, customer_id, *his]))


def _identities(lake: Lake, ids: list[str]) -> list[str]:
    rows = lake.scan("identities")
    named = rows.filter(pl.col(c.CUSTOMER_ID).is_in(ids) | pl.col("id_value").is_in(ids)).collect()
    theirs = named[c.CUSTOMER_ID].unique().to_list()
    every = rows.filter(pl.col(c.CUSTOMER_ID).is_in(theirs)).collect()
    return sorted({*theirs, *every["id_value"].to_list()})


async def knows(erasing: Erasing, ids: list[str]) -> bool:
    """Whether anything is kept of a person: live, in the journal, the lake or a release."""
    person = Person.of(ids)
    for one in ids:
        found = await erasing.state.read(erasing.shop.name, one)
        if found.fields or found.tail or found.exposures:
            return True
    if await asyncio.to_thread(_is_on_disk, erasing, person):
        return True
    async for mention in mentions(erasing.state, erasing.shop.name, person):
        if mention.is_own:
            return True
    return False


def _is_on_disk(erasing: Erasing, person: Person) -> bool:
    for table, contract in TABLES.items():
        named = [name for name in (c.CUSTOMER_ID, *REFERENCES) if name in contract.schema]
        is_named = pl.any_horizontal(*(pl.col(name).is_in(list(person.ids)) for name in named)) if named else None
        if is_named is not None and erasing.lake.scan(table).filter(is_named).head(1).collect().height:
            return True
    for manifest in erasing.store.list():
        models = load_release(erasing.store.root / manifest.release_id, verify=False).models
        if any(one in models.customers.ids or one in models.refusals.ids for one in person.ids):
            return True
    return False


async def carry_out(erasing: Erasing, ids: list[str]) -> Outcome:
    """Remove a person whose erasure has begun from all that the service keeps; safe to run again after any failure."""
    person, counts, name = Person.of(ids), Counter[str](), erasing.shop.name
    async with _alone(erasing.shop):
        counts["live keys"] += await forget(erasing.state, name, ids)
        counts["journal entries"] += await _clean_journal(erasing, person)
        counts["spooled decisions"] += await asyncio.to_thread(clean_spool, erasing.settings.spool, name, person)
        for table in TABLES:
            done = await asyncio.to_thread(rewrite_without, erasing.lake, table, person, fence=table in JOURNAL_TABLES)
            counts[f"rows of {table}"] += done.removed
            counts["other customers' rows changed"] += done.changed
        files = FilesOf(erasing.settings.home, erasing.shop)
        counts["rows and words in other files"] += await asyncio.to_thread(files.clean, person)
        counts["releases"] += await asyncio.to_thread(files.revise, ids)
        aof = None if erasing.settings.redis_url else erasing.settings.state_dir / "aof"
        await rewrite_files(erasing.state.client, aof)
        await asyncio.to_thread(erasing.control.receipts.vacuum)
        waiting = await asyncio.to_thread(files.remove_superseded)
        waiting += await asyncio.to_thread(files.still_naming, person, aof)
    return Outcome({place: count for place, count in counts.items() if count}, tuple(waiting))


def end(erasing: Erasing, receipt: Receipt, ids: Sequence[str], counts: Mapping[str, int], *, done: bool) -> Receipt:
    """Add what a run removed to the receipt; with `done` nothing is left, and the last file with the ids goes too.

    The ids go first and the note last, so that neither a receipt stays open for ever nor a name behind a closed one.
    """
    receipts = erasing.control.receipts
    if not done:
        return receipts.finish(receipt, counts, done=False)
    notes = forget_ids(erasing.shop, ids)
    closed = receipts.finish(receipt, counts, done=True)
    strike(erasing.shop, notes)
    return closed


@asynccontextmanager
async def _alone(shop: Shop) -> AsyncIterator[None]:
    """Run one erasure of a shop at a time."""
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, held(shop.root / LOCK))
        yield


async def _clean_journal(erasing: Erasing, person: Person) -> int:
    """Remove the person's entries; what others said with his name goes to the lake first, where it can be mended."""
    state, name = erasing.state, erasing.shop.name
    own = [one async for one in mentions(state, name, person) if one.is_own]
    gone = await remove_entries(state, name, own)
    await Drain(state.client, name, erasing.lake, erasing.shop.rejects_dir, state.partitions).run()
    others = [one async for one in mentions(state, name, person)]
    gone += await remove_entries(state, name, others)
    naming = {str(one.entry.row[c.CUSTOMER_ID]) for one in others if one.entry.type is EntryType.customer}
    naming |= await asyncio.to_thread(_naming_in_lake, erasing.lake, person)
    await clean_profiles(state, name, naming - person.ids, person)
    return gone


def _naming_in_lake(lake: Lake, person: Person) -> set[str]:
    rows = lake.scan("customers")
    return set(rows.filter(person.mentions(rows)).select(c.CUSTOMER_ID).unique().collect()[c.CUSTOMER_ID].to_list())
