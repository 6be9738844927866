"""The state server's files written anew, so that nothing that was deleted from memory is left on disk."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from features.errors import ServiceUnreachable
from service.state_client import Client, ask, state_errors

WAIT_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.02


async def rewrite_files(client: Client, embedded: Path | None) -> bool:
    """Have the append-only file rewritten and wait until that is done; False when the server keeps none.

    `embedded` is the directory of Pond's own server: there the former files must be gone too, and its log of slow
    commands, which is in memory, is emptied. Snapshots and backups of a server that is not Pond's own are its owner's.

    Raises
    ------
    ServiceUnreachable
        The rewrite failed (its log says why) or takes longer than five minutes; asking again is right.
    """
    before = await _persistence(client)
    if not int(before.get("aof_enabled", 0)):
        return False
    deadline, rewrites = time.monotonic() + WAIT_SECONDS, int(before["aof_rewrites"])
    # One that goes on already began before the deletion: it does not count, ours comes after it.
    wanted = rewrites + (2 if int(before["aof_rewrite_in_progress"]) else 1)
    asked = False
    while True:
        now = await _persistence(client)
        is_idle = not int(now["aof_rewrite_in_progress"]) and not int(now["aof_rewrite_scheduled"])
        if is_idle and asked and int(now["aof_rewrites"]) >= wanted:
            break
        if is_idle and not asked:
            async with state_errors():
                await ask(client, "BGREWRITEAOF")
            asked = True
        if time.monotonic() > deadline:
            raise ServiceUnreachable("The state server does not finish rewriting its files; run the command again.")
        await asyncio.sleep(POLL_SECONDS)
    if now["aof_last_bgrewrite_status"] != "ok":
        raise ServiceUnreachable("The state server could not rewrite its files (see its log); run the command again.")
    if embedded is not None:
        async with state_errors():
            await ask(client, "SLOWLOG", "RESET")
        while any(path.name not in _named(embedded) for path in _files(embedded)):
            if time.monotonic() > deadline:
                raise ServiceUnreachable(f"Former files of the state server stay in {embedded}; run the command again.")
            await asyncio.sleep(POLL_SECONDS)
    return True


async def _persistence(client: Client) -> dict[str, Any]:
    async with state_errors():
        found: dict[str, Any] = await ask(client, "INFO", "persistence")
    return found


def _files(directory: Path) -> list[Path]:
    return [*directory.glob("*.aof"), *directory.glob("temp-*")]


def _named(directory: Path) -> set[str]:
    """Names of the files that the server's manifest says are in use (not `history`, which it deletes by and by)."""
    names = set()
    for manifest in directory.glob("*.manifest"):
        for line in manifest.read_text("utf-8").splitlines():
            words = line.split()
            if len(words) >= 6 and words[5] != "h":
                names.add(words[1])
    return names
