"""`pond upgrade`: the format of everything under a home, and the steps from an older one to this Pond's.

Five things carry a version: the control database, every commit of the lake (its table's contract), every release, the
live keys of every shop, and every journal entry. A step takes one of them from version n to n + 1 and writes the new
version last, so that a step that was broken off is taken again. `STEPS` says which there are; a version that no step
leaves is refused with its name, and so is one that is newer than this Pond.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from features.contracts import TABLES
from features.errors import ArtifactCorrupt, ReleaseError
from features.lake import Lake
from features.shop import Shop, list_shops
from models import release
from service import control, journal
from service.guardian import alone, in_use, start_or_join, stop
from service.journal import CATALOGUE, FIELD, all_partitions
from service.live_state import FORMAT, partition_prefix
from service.settings import ServiceSettings
from service.state_client import Client, ask, connect, state_errors


@dataclass(frozen=True, slots=True)
class Found:
    """One thing with a version: what, where, which version it has and which this Pond writes."""

    what: str
    where: str
    version: int
    current: int


Step: TypeAlias = Callable[[ServiceSettings, Found], None]


def _note_live_format(settings: ServiceSettings, found: Found) -> None:
    """Version 0 → 1: keys made before the live state told its format; they are those of format 1."""

    async def note(client: Client) -> None:
        async with state_errors():
            await ask(client, "HSETNX", partition_prefix(found.where, CATALOGUE) + b"meta", "format", 1)

    _with_server(settings, note)


# (what, version it leaves) → how. Every other format is still the first one.
STEPS: Final[Mapping[tuple[str, int], Step]] = {("live keys", 0): _note_live_format}


def upgrade(
    settings: ServiceSettings, say: Callable[[str], None], steps: Mapping[tuple[str, int], Step] = STEPS
) -> tuple[list[Found], list[Found]]:
    """Bring everything under a home to this Pond's formats; returns what was found and what was changed.

    Raises
    ------
    ReleaseError
        Something is newer than this Pond, or no step leaves its version; nothing was changed.
    UsageError
        Something is to be done and a service runs on this home.
    """
    found = examine(settings)
    for one in found:
        if one.version > one.current:
            raise ReleaseError(
                f"{one.what} {one.where} has format {one.version}, newer than this Pond's {one.current}; upgrade Pond."
            )
        for version in range(one.version, one.current):
            if (one.what, version) not in steps:
                raise ReleaseError(
                    f"{one.what} {one.where} has format {one.version}, and this Pond has no step from {version} to "
                    f"{version + 1}; use the Pond that wrote it."
                )
    older = [one for one in found if one.version < one.current]
    if older:
        with alone(settings):
            for one in older:
                say(f"{one.what} {one.where}: format {one.version} to {one.current}")
                for version in range(one.version, one.current):
                    steps[one.what, version](settings, one)
        stop(settings)
    return found, older


def examine(settings: ServiceSettings) -> list[Found]:
    """Look at everything under a home that carries a version, and change nothing."""
    shops = list_shops(settings.home)
    found = [*_control(settings)]
    for shop in shops:
        found += [*_lake(shop), *_releases(shop)]
    if shops and (settings.redis_url or (settings.state_dir / "aof").is_dir()):
        live: list[Found] = []

        async def look(client: Client) -> None:
            for shop in shops:
                live.extend(await _live(client, shop.name, settings.partitions))

        with in_use(settings):
            _with_server(settings, look)
        stop(settings)
        found += live
    return found


def _control(settings: ServiceSettings) -> Iterator[Found]:
    path = settings.home / "control.db"
    if settings.control_url is not None or not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            said = db.execute("SELECT version FROM format").fetchone()
    except sqlite3.DatabaseError as error:
        raise ArtifactCorrupt(str(path), f"cannot be read ({error})") from error
    yield Found("control database", path.name, int(said[0]) if said else 0, control.FORMAT_VERSION)


def _lake(shop: Shop) -> Iterator[Found]:
    for name, table in TABLES.items():
        versions = {commit.format_version for commit in Lake(shop.lake_dir).commits(name)}
        for version in {max(versions), min(versions)} if versions else ():
            yield Found("lake", f"{shop.name}/{name}", version, table.format_version)


def _releases(shop: Shop) -> Iterator[Found]:
    for path in sorted(shop.releases_dir.glob(f"[!.]*/{release.MANIFEST}")):
        version = _number(path, lambda said: said["format_version"])
        yield Found("release", f"{shop.name}/{path.parent.name}", version, release.FORMAT_VERSION)


async def _live(client: Client, shop: str, partitions: int) -> list[Found]:
    meta = partition_prefix(shop, CATALOGUE) + b"meta"
    async with state_errors():
        known, version = await ask(client, "HMGET", meta, "partitions", "format")
        if known is None:
            return []
        found = [Found("live keys", shop, int(version or 0), FORMAT)]
        for p in all_partitions(partitions):
            newest = await ask(client, "XREVRANGE", partition_prefix(shop, p) + b"journal", "+", "-", "COUNT", 1)
            if newest:
                said = json.loads(newest[0][1][FIELD])
                found.append(Found("journal", f"{shop}/{p}", int(said["v"]), journal.FORMAT_VERSION))
    return found


def _number(path: Path, read: Callable[[Any], Any]) -> int:
    try:
        return int(read(json.loads(path.read_text("utf-8"))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(str(path), f"cannot be read ({error})") from error


def _with_server(settings: ServiceSettings, work: Callable[[Client], Any]) -> None:
    async def run() -> None:
        client = connect(await asyncio.to_thread(start_or_join, settings), settings)
        try:
            await work(client)
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()

    asyncio.run(run())
