"""`pond demo` from end to end: files, lake, release, service, calls; what a first run made, the next one reuses."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from features.lake import Lake
from features.shop import Shop, create_shop, open_shop
from models.release_store import DirectoryStore
from pond.cli.data import ingest_files
from pond.cli.keys import created_key
from pond.cli.session import Session
from pond.cli.train import train_shop
from pond.demo.calls import ShopBackend, Show, choose_guests, make_calls
from pond.demo.journey import TIMEZONE, write_journey
from service.guardian import stop as stop_state
from service.settings import ServiceSettings

SHOP: Final = "complete-journey"
STOP_SECONDS: Final = 30
# Minutes are promised: two scenes are judged, on enough customers for narrow intervals, and rankers learn from fewer
# questions than `pond train` gives them.
IN_TIME: Final = (
    "training.customers=500", "training.scenes=['home', 'next_basket']", "ranker.max_questions=1000",
)  # fmt: skip


def run_demo(session: Session, *, keep_serving: bool, n_households: int | None = None) -> None:
    """Go all the way; with `keep_serving` stay until Ctrl-C, with `n_households` in a small part of the shop."""
    shop = _shop(session, n_households)
    store = DirectoryStore(shop.releases_dir)
    release = store.current_id()
    if release is None:
        _headline(session, "Train, evaluate, log to MLflow, publish")
        train_shop(session, shop, sets=IN_TIME)
    else:
        session.say(f"The release {release} is there from an earlier run and is served again.")
    settings = ServiceSettings.of(session.environ, home=session.home)
    settings = with_free_port(settings)
    _headline(session, "Serve and call")
    key = created_key(session, shop.name, "backend")
    lake = Lake(shop.lake_dir)
    with _service(session, settings) as (process, log):
        url = f"http://{settings.host}:{settings.port}"
        backend = ShopBackend(url, key)
        try:
            backend.wait_until_ready(lambda: process.poll() is None, log)
            make_calls(backend, choose_guests(lake), Show.of(session.out, lake))
        finally:
            backend.close()
        _farewell(session, url, key, keep_serving=keep_serving)
        if keep_serving:
            process.wait()


def with_free_port(settings: ServiceSettings) -> ServiceSettings:
    """Return the settings with a port that is free: the one asked for, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            probe.bind((settings.host, 0))
        return settings.model_copy(update={"port": int(probe.getsockname()[1])})


def _shop(session: Session, n_households: int | None) -> Shop:
    """Open the demo's shop with its data, made on the first run."""
    if not (session.home / "shops" / SHOP / "pond.toml").exists():
        create_shop(session.home, SHOP, TIMEZONE)
    shop = open_shop(session.home, SHOP)
    if Lake(shop.lake_dir).parts("events"):
        session.say(f"The data of shop {SHOP} is there from an earlier run and is used again.")
        return shop
    _headline(session, "Read a real shop: the Complete Journey, a year of a grocery chain's receipts")
    files = write_journey(session.home / "demo", datetime.now(UTC), n_households)
    for reason, count in files.left_out.items():
        session.say(f"left out: {count:,} {reason}")
    session.say(f"moved by {files.weeks} weeks, so that the year ends last week; weekdays and hours as they were")
    ingest_files(session, shop, files.tables, {})
    return shop


@contextmanager
def _service(session: Session, settings: ServiceSettings) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run `pond serve` beside us, as an operator would; on the way out it and its state server are stopped."""
    log = session.home / "logs" / "serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = ["serve", "--home", str(session.home), "--host", settings.host, "--port", str(settings.port)]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pond.cli.main", *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        stop_state(settings)


def _headline(session: Session, text: str) -> None:
    session.out.rule(f"[bold]{text}", align="left")


def _farewell(session: Session, url: str, key: str, *, keep_serving: bool) -> None:
    out = session.out
    out.rule("[bold]Now you", align="left")
    store = session.home / "mlflow" / "mlflow.db"
    mlflow = Path(sys.executable).with_name("mlflow")
    call = (
        f"curl -s {url}/v1/recommend -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' "
        """-d '{"customer_id": "1", "scene": "home", "k": 5}'"""
    )
    lines = [
        f"documentation       {url}/docs",
        f"metrics, health     {url}/metrics   {url}/health/ready",
        f"runs and models     {mlflow} ui --backend-store-uri sqlite:///{store}",
        f"your key            {key}",
        f"a call              {call}",
    ]
    for line in lines:
        session.say(line)
    if keep_serving:
        session.say("\nServing. Ctrl-C stops.", style="bold")
    else:
        session.say(f"\nThe service is stopped; `pond serve --home {session.home}` starts it again.")
