"""`python -m service.keep`: the keeper as a process of its own, over all shops under a home."""

import asyncio
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from features.errors import ReleaseError
from features.lake import Lake
from features.shop import Shop, list_shops
from features.watermarks import Watermark, read_watermarks
from models.release_store import DirectoryStore
from service.child import end_with_parent, told_by_parent
from service.guardian import StateServer, start_or_join
from service.keeper import Kept, run_keeper
from service.observe import configure_logs
from service.settings import ServiceSettings


@dataclass(frozen=True)
class Shops:
    """The shops under a home, found anew each time; a lake verifies each of its files once, so it is kept."""

    home: Path
    _lakes: dict[str, Lake] = field(default_factory=dict)

    def kept(self) -> Iterable[Kept]:
        """Return every shop for the keeper."""
        for shop in list_shops(self.home):
            lake = self._lakes.setdefault(shop.name, Lake(shop.lake_dir))
            yield Kept(shop.name, lake, shop.rejects_dir, partial(release_marks, shop))


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
    await run_keeper(server, settings, Shops(settings.home).kept, stop)


def main() -> None:
    """Keep until SIGTERM, or only drain what there is."""
    told = told_by_parent()
    end_with_parent()
    configure_logs()
    settings = ServiceSettings.model_validate(told["settings"])
    asyncio.run(_run(start_or_join(settings), settings, only_drain=told.get("only_drain", False)))


if __name__ == "__main__":
    main()
