"""`python -m service.keep`: the keeper as a process of its own, over all shops under a home."""

import asyncio
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from features.errors import PondError, ReleaseError
from features.lake import Lake
from features.shop import Shop, open_shop, shop_names
from features.watermarks import Watermark, read_watermarks
from models.release_store import DirectoryStore
from service.child import end_with_parent, told_by_parent
from service.control import key_of_erasures
from service.from_lake import bring_from_lake
from service.guardian import StateServer, start_or_join
from service.keeper import Kept, run_keeper
from service.live_state import LiveState
from service.merges import Merges
from service.observe import configure_logs
from service.settings import ServiceSettings
from service.state_client import Client


@dataclass(frozen=True)
class Shops:
    """The shops under a home, found anew each time; a lake verifies each of its files once, so it is kept."""

    home: Path
    settings: ServiceSettings
    key: bytes  # of the digests by which erased customers are known
    _lakes: dict[str, Lake] = field(default_factory=dict)

    def kept(self) -> Iterable[Kept]:
        """Return every shop for the keeper."""
        for name in shop_names(self.home):
            try:
                shop = open_shop(self.home, name)
            except PondError as error:  # its journal waits; the other shops are not its business
                structlog.get_logger("pond.keeper").warning("shop_unreadable", shop=name, error=str(error))
                continue
            lake = self._lakes.setdefault(shop.name, Lake(shop.lake_dir))
            care = partial(_care, self.settings, self.key, shop, lake)
            yield Kept(shop.name, lake, shop.rejects_dir, partial(release_marks, shop), care)


async def _care(settings: ServiceSettings, key: bytes, shop: Shop, lake: Lake, client: Client) -> None:
    """Bring what files told the lake since, and end merges whose caller died between the steps."""
    state = LiveState(client, settings, key)
    try:
        await bring_from_lake(state, shop, lake)
        await Merges(state).finish_all(shop.name)
    except PondError as error:  # the journal is drained all the same, and the next round tries again
        structlog.get_logger("pond.keeper").warning("shop_not_cared_for", shop=shop.name, error=str(error))


def release_marks(shop: Shop) -> Sequence[Mapping[str, Watermark]]:
    """Return the watermarks of every release that serves or may be promoted again: what lies above one it needs.

    With a release that cannot be read nothing is known to be needed no more: no marks, so nothing is trimmed.
    """
    try:
        manifests = DirectoryStore(shop.releases_dir).list()
    except ReleaseError as error:
        structlog.get_logger("pond.keeper").warning("nothing_trimmed", shop=shop.name, error=str(error))
        return ()
    return tuple(read_watermarks(manifest.watermarks) for manifest in manifests)


async def _run(server: StateServer, settings: ServiceSettings, *, only_drain: bool) -> None:
    stop = asyncio.Event()
    if only_drain:
        stop.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = await asyncio.to_thread(key_of_erasures, settings)
    await run_keeper(server, settings, Shops(settings.home, settings, key).kept, stop)


def main() -> None:
    """Keep until SIGTERM, or only drain what there is."""
    told = told_by_parent()
    end_with_parent()
    settings = ServiceSettings.model_validate(told["settings"])
    configure_logs(settings.home)
    asyncio.run(_run(start_or_join(settings), settings, only_drain=told.get("only_drain", False)))


if __name__ == "__main__":
    main()
