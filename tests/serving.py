"""A toy shop that serves: the world of two tastes, trained, published and promoted, with keys to its door."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import uvicorn

from features.dataset import Dataset
from features.shop import Shop, create_shop
from models.catalogue import SOURCES
from models.config import validated_pipeline_config
from models.release import write_release
from models.release_store import DirectoryStore
from models.trained import Models
from service.app import create_app, server_config
from service.control import ControlPlane, Role
from service.live_state import now_us
from service.settings import ServiceSettings
from service.supervisor import listen
from tests import worlds

ROOT: Final = Path(__file__).resolve().parents[1]
SERVE: Final = (
    "import sys\n"
    "from service.settings import ServiceSettings\n"
    "from service.supervisor import serve\n"
    "serve(ServiceSettings.model_validate_json(sys.argv[1]), lambda text: print(text, flush=True))\n"
)


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
def served(toy: ToyShop, clock: Callable[[], int] = now_us) -> Iterator[httpx.Client]:
    """The application on a real port, in a thread of this process; the client carries an admin key."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(create_app(toy.settings, clock)))
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


class RunningService:
    """`serve` as a process of its own with workers, keeper and state server; its log tells which worker answered."""

    def __init__(self, toy: ToyShop, log: Path, env: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.toy, self.log, self._env = toy, log, {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self.settings = ServiceSettings.model_validate(
            {**toy.settings.model_dump(), "port": 0, "workers": 2} | settings
        )
        self.headers = toy.headers()
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, self.settings.model_dump_json()], stdout=subprocess.PIPE, text=True,
                stderr=log, env=self._env, process_group=0,  # a group of its own, as a terminal's foreground job has
            )  # fmt: skip
        said = self.process.stdout.readline()
        assert said, self.log.read_text()
        self.url = re.search(r"http://\S+", said)[0]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def workers(self, path: str) -> set[int]:
        return {line["pid"] for line in self.lines() if line.get("path") == path}

    def children(self, module: str) -> list[int]:
        """The living processes of a module that this service started."""
        found = []
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if module.encode() in command:
                found.append(int(child))
        return found

    def state_pid(self, name: str) -> int:
        """Of the `guardian` or the `server`, as the last of them wrote it down."""
        return state_pid(self.settings, name)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, **{"timeout": 60} | options)

    def fresh_post(self, path: str, body: Any) -> Any:
        """Post on a connection of its own, so that any worker may take it."""
        with self.client() as client:
            answer = client.post(path, json=body)
            assert answer.status_code < 300, answer.text
            return answer.json()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.gone()

    def kill(self) -> None:
        """End the supervisor alone, as the kernel would."""
        self.process.kill()
        self.gone()

    def gone(self, seconds: float = 60) -> int:
        code = self.process.wait(seconds)
        self.process.stdout.close()
        return code


def state_pid(settings: ServiceSettings, name: str) -> int:
    """Process id of the `guardian` or the `server`; waits while it is being written down."""
    return int(wait_for((settings.state_dir / f"{name}.pid").read_text))


def wait_for(question: Callable[[], Any], seconds: float = 90) -> Any:
    """Ask until the answer is yes; a safety net, not a measure."""
    deadline = time.monotonic() + seconds
    while not (found := question()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found
