"""A toy shop that serves: the world of two tastes, trained, published and promoted, with keys to its door."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from features.dataset import Dataset
from features.shop import Shop, create_shop
from models.catalogue import SOURCES
from models.config import validated_pipeline_config
from models.release import Models, write_release
from models.release_store import DirectoryStore
from service.app import create_app
from service.control import ControlPlane, Role
from service.settings import ServiceSettings
from service.supervisor import listen
from tests import worlds


def toy_models(settings: Mapping[str, Any] | None = None) -> Models:
    """Every source of the catalogue, fitted on two tastes."""
    return fitted(worlds.two_tastes(), settings=settings)


def fitted(dataset: Dataset, names: Sequence[str] = (), settings: Mapping[str, Any] | None = None) -> Models:
    """Some sources (default: all that scenes ask), fitted on a dataset."""
    config = validated_pipeline_config(settings or {}, "test")
    names = names or config.used_sources
    sources = {name: SOURCES[name].fit(dataset, config.source(name), np.random.default_rng(0)) for name in names}
    return Models.of(dataset, config, sources)


@dataclass(frozen=True)
class ToyShop:
    """A shop with its releases and keys."""

    shop: Shop
    settings: ServiceSettings

    @property
    def releases(self) -> DirectoryStore:
        return DirectoryStore(self.shop.releases_dir)

    def publish(self, models: Models, release_id: str, **facts: Any) -> None:
        known = {"release_id": release_id, "shop": self.shop.name, "created_at": 1, "dataset_digest": "d"} | facts
        self.releases.publish(release_id, lambda path: write_release(models, path, known))
        self.releases.promote(release_id)

    def headers(self, role: Role = Role.admin) -> dict[str, str]:
        control = ControlPlane.open(self.settings)
        try:
            return {"Authorization": f"Bearer {control.create_key(self.shop.name, role)}"}
        finally:
            control.close()


def open_toy_shop(home: Path, name: str, **settings: Any) -> ToyShop:
    """Create a shop under `home`; explored answers are off, so that answers can be compared."""
    told = {"home": home, "explore_share": 0.0, "connect_ms": 5_000, "read_ms": 5_000, "write_ms": 10_000} | settings
    return ToyShop(create_shop(home, name, worlds.TIMEZONE), ServiceSettings(**told))


@contextmanager
def served(toy: ToyShop) -> Iterator[httpx.Client]:
    """The application on a real port, in a thread of this process; the client carries an admin key."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(toy.settings), log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the application does not start"
            time.sleep(0.01)
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=base, headers=toy.headers(), timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
