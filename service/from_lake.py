"""What files told the lake, brought into the live state: consents, identities and profiles.

Every partition notes up to which commit of each table it has been told (`lake.<table>` in `meta`). A command that
ingests files brings the rest; the keeper does at each round, and a worker when it meets a partition without the note:
an emptied server does not know who refused what, and until it does nothing personal is shown. Nothing is journalled,
for the lake has it; and everything is harmless to repeat.

The order matters for *the strictest word wins*. What a merge decided stands in the lake as words of the customer who
stayed, so merges that were done before (their identities came through the journal) are repeated first and absorb
nothing; then the words; then identities that came by file, which are merges to be done now.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from features import columns as c
from features.commits import Commit
from features.contracts import table_named
from features.lake import COMPACTION, Lake
from features.shop import Shop
from models.artifact import load_value
from models.release_store import DirectoryStore
from models.trained import EntityTable
from service.control import key_of_erasures
from service.drain import Drain
from service.guardian import StateServer, in_use, start_or_join, stop
from service.journal import all_partitions
from service.live_state import LiveState, partition_prefix
from service.merges import MergeOutcome, Merges
from service.settings import ServiceSettings
from service.state_client import connect, state_errors

TABLES: Final = ("consents", "identities", "customers")
AT_ONCE: Final = 8  # of the worker's connections; requests need the others
PATIENT_MS: Final = 10_000
_REASONS: Final = {
    MergeOutcome.circle: "the customer is another id of this one",
    MergeOutcome.taken: "the id belongs to another customer already",
    MergeOutcome.erased: "one of the two was erased on request",
}  # fmt: skip
PURPOSE: Final = r"^[a-z][a-z0-9_]{0,63}$"


@dataclass(frozen=True, slots=True)
class Brought:
    """How many rows changed the live state, by table, and identities that could not be kept, with the reason."""

    changed: Mapping[str, int] = field(default_factory=dict)
    refused: tuple[tuple[str, MergeOutcome], ...] = ()

    @property
    def reasons(self) -> dict[str, int]:
        """Why identities were not taken up, and how many each."""
        return dict(Counter(_REASONS[outcome] for _, outcome in self.refused))


def tell_from_files(settings: ServiceSettings, shop: Shop) -> Brought:
    """Join the running state server or start the embedded one, bring what the lake has, and drain what that decided.

    Raises
    ------
    ServiceUnreachable, StorageFull
        The rows are in the lake; running the same command again brings them, and so does the service once it runs.
    """

    async def tell(server: StateServer) -> Brought:
        state, lake = LiveState(connect(server, settings), settings, key), Lake(shop.lake_dir)
        try:
            done = await bring_from_lake(state, shop, lake)
            # What a merge decided must be in the lake before a training looks.
            await Drain(state.client, shop.name, lake, shop.rejects_dir, settings.partitions).run()
        finally:
            await state.close()
        return done

    key = key_of_erasures(settings)
    # A command waits for a busy server where a request must not.
    patient = {name: max(getattr(settings, name), PATIENT_MS) for name in ("connect_ms", "read_ms", "write_ms")}
    settings = settings.model_copy(update=patient)
    try:
        with in_use(settings):
            return asyncio.run(tell(start_or_join(settings)))
    finally:
        stop(settings)


async def bring_from_lake(state: LiveState, shop: Shop, lake: Lake) -> Brought:
    """Tell the live state what the lake has and it has not been told; return what changed.

    Raises
    ------
    ServiceUnreachable, StorageFull, ArtifactCorrupt
        The next call goes on from the last one that ended.
    """
    await state.open_shop(shop.name)
    marks = await _marks(state, shop.name)
    news = await asyncio.to_thread(_News.of, shop, lake, marks)
    if news is None:
        return Brought()
    done = _Bringing(state, shop.name)
    await done.merge_all(news.done_merges, in_lake=True)
    changed = {"consents": await done.tell(state.put_consent, news.consents)}
    changed["identities"] = await done.merge_all(news.merges, in_lake=False)
    changed["customers"] = await done.tell(state.put_customer, news.profiles)
    await _note(state, shop.name, news.upto)
    return Brought(changed, tuple(done.refused))


@dataclass(frozen=True, slots=True)
class _News:
    """Rows the live state has not been told, and the commits they reach up to."""

    upto: Mapping[str, int]
    done_merges: Sequence[Mapping[str, Any]]
    consents: Sequence[Mapping[str, Any]]
    merges: Sequence[Mapping[str, Any]]
    profiles: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, shop: Shop, lake: Lake, marks: Mapping[str, int | None]) -> "_News | None":
        """Read them; None when there are none."""
        log = {table: lake.commits(table, marks[table] or 0) for table in TABLES}
        if all(mark is not None for mark in marks.values()) and not any(log.values()):
            return None
        upto = {table: found[-1].number if found else marks[table] or 0 for table, found in log.items()}
        # Where the log was cut above the mark, what was told and what was not cannot be told apart: all is told again.
        again = {table for table, found in log.items() if found and found[0].number > (marks[table] or 0) + 1}
        # What came through the journal is in the live state, unless that one has been emptied since.
        wanted = {
            table: [one for one in found if marks[table] is None or table in again or not _was_live(one)]
            for table, found in log.items()
        }
        links = wanted["identities"]
        # An emptied state: what merges decided is in the lake. One that is told again may lack some of the merges.
        is_new = marks["identities"] is not None and "identities" in again
        consents = _added(lake, "consents", wanted["consents"]).filter(pl.col("purpose").str.contains(PURPOSE))
        return cls(
            upto,
            _added(lake, "identities", [one for one in links if _was_live(one) and not is_new]).to_dicts(),
            consents.to_dicts(),
            _added(lake, "identities", [one for one in links if is_new or not _was_live(one)]).to_dicts(),
            _unknown_profiles(shop, lake, wanted["customers"]),
        )


def _was_live(commit: Commit) -> bool:
    """Whether a commit holds what the live state has had: from the journal, or old enough to be merged with others."""
    return "journal" in commit.meta or commit.source == COMPACTION


def _added(lake: Lake, table: str, commits: Sequence[Commit]) -> pl.DataFrame:
    """Return the rows that some commits added; all rows when a part of theirs was merged away meanwhile."""
    names = {part.name for commit in commits for part in commit.added}
    visible = lake.parts(table) if names else ()
    parts = [part for part in visible if part.name in names]
    wanted = parts if len(parts) == len(names) else visible
    return pl.concat([table_named(table).empty(), *(lake.scan_part(table, part).collect() for part in wanted)])


def _unknown_profiles(shop: Shop, lake: Lake, commits: Sequence[Commit]) -> list[dict[str, Any]]:
    """Return the last profile of each customer where the release that serves knows another.

    What it knows need not take up memory; without a release nobody is answered yet.
    """
    serving = DirectoryStore(shop.releases_dir).current_id()
    if serving is None or not any(one.added for one in commits):
        return []
    known = load_value(EntityTable, shop.releases_dir / serving / "customers")
    trained = known.frame.lazy().select(
        pl.Series(c.CUSTOMER_ID, known.ids.texts, dtype=pl.String), trained=pl.col("attributes").cast(pl.String)
    )
    return (
        _added(lake, "customers", commits)
        .lazy()
        .with_columns(pl.col(c.VALID_FROM).fill_null(0))
        .sort(c.VALID_FROM, maintain_order=True)
        .unique(c.CUSTOMER_ID, keep="last", maintain_order=True)
        .join(trained, on=c.CUSTOMER_ID, how="left", maintain_order="left")
        .filter(~pl.col("attributes").eq_missing(pl.col("trained")))
        .select(table_named("customers").schema.names())
        .collect()
        .to_dicts()
    )


class _Bringing:
    """One telling, several rows at once."""

    def __init__(self, state: LiveState, shop: str) -> None:
        self._state, self._shop, self._merges = state, shop, Merges(state)
        self.refused: list[tuple[str, MergeOutcome]] = []

    async def tell(self, put: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """Put rows; those of one customer keep their order because what they do does not depend on it."""
        changed = 0
        for chunk in _chunks(rows):
            done = await asyncio.gather(*(put(self._shop, row, in_lake=True) for row in chunk))
            changed += sum(outcome == "stored" for outcome in done)
        return changed

    async def merge_all(self, rows: Sequence[Mapping[str, Any]], *, in_lake: bool) -> int:
        """Do merges in the order they were said: what was said first about an id holds."""
        changed = 0
        for chunk in _strangers_to_each_other(rows):
            merges = (
                self._merges.merge(self._shop, row["id_value"], row[c.CUSTOMER_ID], row["id_type"], in_lake=in_lake)
                for row in chunk
            )
            for done in await asyncio.gather(*merges):
                changed += done.outcome is MergeOutcome.merged
                if done.outcome not in (MergeOutcome.merged, MergeOutcome.already, MergeOutcome.same):
                    self.refused.append((done.other, done.outcome))
        return changed


def _strangers_to_each_other(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Cut rows into runs in which no id occurs twice: those may be merged at once, whatever comes first."""
    run: list[Mapping[str, Any]] = []
    named: set[str] = set()
    for row in rows:
        ids = {row["id_value"], row[c.CUSTOMER_ID]}
        if len(run) == AT_ONCE or ids & named:
            yield run
            run, named = [], set()
        run.append(row)
        named |= ids
    if run:
        yield run


def _chunks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


async def _marks(state: LiveState, shop: str) -> dict[str, int | None]:
    """Return, per table, the lowest commit that a partition was told up to; None when one was told nothing."""
    keys = [partition_prefix(shop, p) + b"meta" for p in all_partitions(state.partitions)[:-1]]
    names = [f"lake.{table}" for table in TABLES]
    async with state_errors(), state.client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.execute_command("HMGET", key, *names)
        found = await pipe.execute()
    columns = zip(*found, strict=True)
    return {
        table: None if None in column else min(int(value) for value in column)
        for table, column in zip(TABLES, columns, strict=True)
    }


async def _note(state: LiveState, shop: str, upto: Mapping[str, int]) -> None:
    flat = [part for table, number in upto.items() for part in (f"lake.{table}", number)]
    async with state_errors(), state.client.pipeline(transaction=False) as pipe:
        for p in all_partitions(state.partitions)[:-1]:
            pipe.execute_command("HSET", partition_prefix(shop, p) + b"meta", *flat)
        await pipe.execute()


def _heard(task: "asyncio.Task[Brought]") -> None:
    """Take note of how it ended also when whoever waited has gone: the next one who needs it begins anew."""
    if not task.cancelled():
        task.exception()


class LakeWords:
    """The bringing of all shops of one process: one at a time for each shop."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._lakes: dict[Path, Lake] = {}
        self._running: dict[str, asyncio.Task[Brought]] = {}

    async def bring(self, shop: Shop, wait_s: float | None = None) -> Brought:
        """Bring, or join who is at it; `TimeoutError` after `wait_s` seconds, while it goes on."""
        running = self._running.get(shop.name)
        if running is None or running.done():
            lake = self._lakes.setdefault(shop.lake_dir, Lake(shop.lake_dir))
            running = asyncio.create_task(bring_from_lake(self._state, shop, lake))
            running.add_done_callback(_heard)
            self._running[shop.name] = running
        async with asyncio.timeout(wait_s):
            return await asyncio.shield(running)

    async def close(self) -> None:
        """End what is still at it."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
