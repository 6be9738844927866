"""`pond backup` and `pond restore`: a copy of a home while it serves, and a home made of it.

The state server's files are not copied. The journal is drained first, so the lake holds every event, decision and
change that was acknowledged before the backup began, each once; restoring makes the live state again from the lake
(service/rebuild.py). The order keeps what hangs together: releases before the lake they were made from, spooled
decisions before the drain that may carry them, `events` before the tables it bounds.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from features.commits import visible
from features.durable import sync_directory
from features.errors import ArtifactCorrupt, UsageError
from features.lake import Lake
from features.shop import Shop, list_shops, open_shop
from models.release import MANIFEST as RELEASE_MANIFEST
from models.release_store import POINTER
from service.archive import Writing, opened, written
from service.drain import TABLES, Drain
from service.guardian import in_use, start_or_join, stop
from service.settings import ServiceSettings
from service.state_client import connect
from service.upkeep import WRITE_MS, rebuild_live

CONTROL: Final = "control.db"
MLFLOW: Final = "mlflow/mlflow.db"
# Made anew, of the machine, or copied in their own way.
LEFT_OUT: Final = ("state", "spool", "logs", CONTROL, MLFLOW)
TRIES: Final = 5
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup holds: shops, files, bytes, and what an operator must keep by other means."""

    out: Path
    shops: tuple[str, ...]
    files: int
    size: int
    remarks: tuple[str, ...]


def back_up(settings: ServiceSettings, out: Path, shop: str | None, now_us: int, say: Say) -> Kept:
    """Copy a home, or one shop of it, to a new directory or `.tar`; services go on.

    Raises
    ------
    UsageError, UnknownShop
        There is no such shop, or something stands at `out`.
    ArtifactCorrupt
        A file of the lake is not what was written; a backup of it would be none.
    """
    home = settings.home
    shops = [open_shop(home, shop)] if shop else list_shops(home)
    if out.resolve().is_relative_to(home.resolve()):
        raise UsageError(f"{out} lies inside {home}; write the backup to another place.")
    with written(out) as (writing, finish):
        for one in shops:
            say(f"{one.name}: releases")
            _copy_releases(one, writing)
        _copy_spool(settings, writing)
        say("draining the journal")
        _drain(settings, shops)
        lakes = {one.name: _copy_lake(one, writing, say) for one in shops}
        remarks = _copy_control(settings, writing, shop)
        for path, relative in _rest(home, [one.name for one in shops], whole=shop is None):
            _copy_if_there(path, relative, writing)
        if shop is None and (home / MLFLOW).exists():
            _copy_sqlite(home / MLFLOW, writing.path(MLFLOW))
            writing.note(MLFLOW)
        finish({"created_at": now_us, "partitions": settings.partitions, "lakes": lakes})
    return Kept(out, tuple(lakes), len(writing.files), writing.size, remarks)


def restore(settings: ServiceSettings, archive: Path, now_us: int, say: Say) -> tuple[str, ...]:
    """Make a home of a backup; it appears, with its live state, in one step. Returns its shops.

    Raises
    ------
    UsageError
        The home is not empty, or its shops have another number of partitions.
    ArtifactCorrupt
        The backup is damaged; the sentence names the file, and there is no home.
    """
    home = settings.home
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise UsageError(f"{home} is not empty; restore into a new --home.")
    say("comparing every file")
    with opened(archive, home) as (content, said):
        if said["partitions"] != settings.partitions:
            number = said["partitions"]
            raise UsageError(f"The shops in this backup have {number} partitions; set POND_PARTITIONS={number}.")
        fresh = settings.model_copy(update={"home": content, "spool_dir": None})
        shops = list_shops(content)
        rebuild_live(fresh, shops, now_us, say)
        if home.exists():
            home.rmdir()
        content.rename(home)
        sync_directory(home.parent)
    return tuple(shop.name for shop in shops)


def _copy_releases(shop: Shop, writing: Writing) -> None:
    """The pointer first: what it names is complete by then, and is copied after it."""
    _copy_if_there(shop.releases_dir / POINTER, _below(shop, "releases", POINTER), writing)
    for manifest in sorted(shop.releases_dir.glob(f"[!.]*/{RELEASE_MANIFEST}")):
        for path in sorted(p for p in manifest.parent.rglob("*") if p.is_file()):
            writing.copy(path, _below(shop, "releases", str(path.relative_to(shop.releases_dir))))


def _copy_spool(settings: ServiceSettings, writing: Writing) -> None:
    for path in sorted(settings.spool.glob("*.spool")):
        _copy_if_there(path, f"spool/{path.name}", writing)


def _drain(settings: ServiceSettings, shops: Sequence[Shop]) -> None:
    told = settings.model_copy(update={"write_ms": WRITE_MS, "connect_ms": max(settings.connect_ms, 5_000)})

    async def drain() -> None:
        client = connect(await asyncio.to_thread(start_or_join, told), told)
        try:
            for shop in shops:
                await Drain(client, shop.name, Lake(shop.lake_dir), shop.rejects_dir, told.partitions).run()
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    with in_use(told):
        asyncio.run(drain())
    stop(told)


def _copy_lake(shop: Shop, writing: Writing, say: Say) -> dict[str, int]:
    numbers = {}
    others = {path.name for path in shop.lake_dir.glob("*") if path.is_dir()} - set(TABLES)
    for table in (TABLES[-1], *TABLES[:-1], *sorted(others)):
        say(f"{shop.name}: {table}")
        for left in reversed(range(TRIES)):
            try:
                numbers[table] = _copy_table(shop, table, writing)
                break
            except FileNotFoundError:  # rewritten meanwhile: what is visible now is another set of files
                if not left:
                    raise
    return numbers


def _copy_table(shop: Shop, table: str, writing: Writing) -> int:
    lake = Lake(shop.lake_dir)
    commits = lake.commits(table)
    if not commits:
        return 0
    for part in visible(commits):
        path = shop.lake_dir / table / part.name
        if path.stat().st_size != part.size:
            raise ArtifactCorrupt(str(path), f"has {path.stat().st_size} bytes instead of {part.size}")
        writing.copy(path, _below(shop, "lake", f"{table}/{part.name}"), part.digest)
    for commit in commits:  # and no other file: what is cut from the log meanwhile starts this table anew
        name = f"{table}/_log/{commit.file_name}"
        writing.copy(shop.lake_dir / name, _below(shop, "lake", name))
    return commits[-1].number


def _copy_control(settings: ServiceSettings, writing: Writing, shop: str | None) -> tuple[str, ...]:
    if settings.control_url is not None:
        return ("The control database (keys, audit) is elsewhere, by POND_CONTROL_URL: back it up with its own tools.",)
    path = settings.home / CONTROL
    if not path.exists():
        return ()
    copy = writing.path(CONTROL)
    _copy_sqlite(path, copy)
    if shop is not None:
        _only_of(copy, shop)
    writing.note(CONTROL)
    return ()


def _copy_sqlite(path: Path, copy: Path) -> None:
    """SQLite's own online backup: consistent while others write."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")


def _only_of(copy: Path, shop: str) -> None:
    """Leave nothing of other shops in a copied control database, not even in its free pages."""
    engine = sa.create_engine(f"sqlite:///{copy}")
    tables = sa.MetaData()
    tables.reflect(engine)
    with engine.begin() as db:
        for table in tables.tables.values():
            column = table.c.get("name" if table.name == "shops" else "shop")
            if column is not None:
                db.execute(table.delete().where(column != shop))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.exec_driver_sql("VACUUM")
    engine.dispose()


def _rest(home: Path, shops: Sequence[str], *, whole: bool) -> Iterator[tuple[Path, str]]:
    """Yield everything else: settings, runs, rejects, MLflow's artifacts."""
    roots = [home] if whole else [home / "shops" / name for name in shops]
    for root in roots:
        for folder, folders, names in os.walk(root):
            inside = Path(folder).relative_to(home)
            folders[:] = [name for name in folders if not _is_left_out(inside / name)]
            for name in names:
                if not _is_left_out(inside / name) and (Path(folder) / name).is_file():
                    yield Path(folder) / name, str(inside / name)


def _is_left_out(relative: Path) -> bool:
    words = relative.parts
    is_copied = len(words) == 3 and words[0] == "shops" and words[2] in ("lake", "releases")
    is_passing = words[-1].startswith(".") or words[-1].endswith((".tmp", ".lock"))
    return is_copied or is_passing or str(relative).removesuffix("-wal").removesuffix("-shm") in LEFT_OUT


def _copy_if_there(path: Path, relative: str, writing: Writing) -> None:
    """Copy a file that may be gone by now."""
    if path.exists():
        try:
            writing.copy(path, relative)
        except FileNotFoundError:
            return


def _below(shop: Shop, *words: str) -> str:
    return "/".join(("shops", shop.name, *words))
