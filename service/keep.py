"""`python -m service.keep`: the keeper as a process of its own, over all shops under a home."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from service.eraser import Resumption
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
    resume: Callable[[Shop], None] | None = None  # takes up what was left of erasures
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
            yield Kept(shop.name, lake, shop.rejects_dir, partial(release_marks, shop), partial(self._care, shop, lake))

    async def _care(self, shop: Shop, lake: Lake, client: Client) -> None:
        """Bring what files told the lake since, and end merges and erasures whose process died on the way."""
        state = LiveState(client, self.settings, self.key)
        try:
            await bring_from_lake(state, shop, lake)
            await Merges(state).finish_all(shop.name)
            if self.resume is not None:
                await asyncio.to_thread(self.resume, shop)
        except (PondError, OSError) as error:  # the journal is drained all the same, and the next round tries again
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
    erasures = Resumption(settings)

    def resume(shop: Shop) -> None:
        if not stop.is_set():  # at the end nothing is begun any more
            erasures.look(shop)

    await run_keeper(server, settings, Shops(settings.home, settings, key, resume).kept, stop)


def main() -> None:
    """Keep until SIGTERM, or only drain what there is."""
    told = told_by_parent()
    end_with_parent()
    settings = ServiceSettings.model_validate(told["settings"])
    configure_logs(settings.home)
    asyncio.run(_run(start_or_join(settings), settings, only_drain=told.get("only_drain", False)))


if __name__ == "__main__":
    main()
