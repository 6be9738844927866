"""A person leaves: real commands, real processes, MLflow; then every file under POND_HOME is decoded and searched."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from io import BytesIO
from pathlib import Path

import httpx
import polars as pl
import pytest

from models.release import write_release
from models.release_store import DirectoryStore
from pond.cli.main import main
from tests.e2e.test_cli_readme import TEAS
from tests.traces import traces_of
from training.tracking import open_tracker

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = [f"member-{n:03d}-会员" for n in range(40)]
BY_HTTP, BY_COMMAND = MEMBERS[5], MEMBERS[8]
DAY = 86_400_000_000
START = 1_735_660_800_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A shop with two releases; one was trained and is recorded in MLflow."""
    folder = tmp_path_factory.mktemp("erasure")
    rows = [
        {"event_id": f"{who}-{visit}-{step}", "customer_id": MEMBERS[who], "kind": "purchase", "item_id":
         TEAS[(who % 2) * 4 + (who + step * (1 + visit % 3)) % 4], "at": START + (10 * visit + who % 10) * DAY}
        for who in range(40) for visit in range(9) for step in range(2)
    ]  # fmt: skip
    pl.DataFrame(rows).write_parquet(folder / "events.parquet")
    pl.DataFrame({"product_id": TEAS, "title": [f"Tea {t} 茶" for t in TEAS]}).write_csv(folder / "products.csv")
    people = [{"customer_id": m, "inviter_id": BY_HTTP if n % 3 else None, "advisor_id": BY_COMMAND, "attributes":
               json.dumps({"nickname": f"nick of {m}", "region": "east"})} for n, m in enumerate(MEMBERS)]  # fmt: skip
    (folder / "people.jsonl").write_text("".join(f"{json.dumps(p)}\n" for p in people))
    (folder / "bad.csv").write_text(
        f"customer_id,purpose,at,state\n{BY_HTTP},sms,never,on\n{BY_COMMAND},sms,never,on\n"
    )
    home = folder / "home"
    at = ["--home", str(home), "--quiet"]
    assert main(["shop", "create", "tea", *at]) == 0
    files = ["--events", str(folder / "events.parquet"), "--products", str(folder / "products.csv")]
    files += ["--customers", str(folder / "people.jsonl"), "--consents", str(folder / "bad.csv")]
    assert main(["ingest", "--shop", "tea", *files, *at]) == 0
    quick = [w for s in ("bootstrap_samples=100", "workers=1", "gate='off'") for w in ("--set", f"training.{s}")]
    assert main(["train", "--shop", "tea", *quick, *at]) == 0
    store = DirectoryStore(home / "shops/tea/releases")
    _publish_again(store)
    for who in (BY_HTTP, BY_COMMAND):
        assert traces_of(who, home)
    return folder


def _publish_again(store):
    first = store.load(store.current_id())
    facts = first.manifest.model_dump(include={"shop", "created_at", "dataset_digest", "watermarks"})
    store.publish("r-again", lambda path: write_release(first.models, path, facts | {"release_id": "r-again"}))
    store.promote("r-again")


@pytest.fixture
def home(shop):
    return shop / "home"


@pytest.fixture
def service(home):
    with (home.parent / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pond.cli.main", "serve", "--workers", "2", "--port", "0", "--home", str(home)],
            stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        said = process.stdout.readline()
        assert said, (home.parent / "log").read_text()
        yield re.search(r"http://\S+", said)[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


def key(home, role, capsys):
    assert main(["keys", "create", "--shop", "tea", "--role", role, "--home", str(home), "--quiet"]) == 0
    return {"Authorization": f"Bearer {capsys.readouterr().out.split()[-1]}"}


def event(event_id, customer):
    return {"event_id": event_id, "customer_id": customer, "kind": "purchase", "at": time.time(), "item_id": TEAS[0]}


def recommend(client, customer):
    return client.post("/v1/recommend", json={"customer_id": customer, "scene": "rebuy", "k": 3})


def assert_audited_once(client, receipt):
    """As asked by whose key; the command that the service started for it is not another one."""
    entries = client.get("/v1/admin/audit").json()["entries"]
    (row,) = [entry for entry in entries if entry["action"] == "customer.erase"]
    assert row["details"] == {"receipt": receipt}
    assert row["actor"] in client.headers["Authorization"]


def test_a_customer_erased_over_http_is_nowhere_while_the_service_goes_on(shop, home, service, capsys):
    with httpx.Client(base_url=service, headers=key(home, "admin", capsys), timeout=60) as client:
        assert recommend(client, BY_HTTP).status_code == 200
        sent = [event("http-1", BY_HTTP), event("http-2", MEMBERS[6])]
        assert client.post("/v1/events", json={"events": sent}).status_code == 202
        path = f"/v1/customers/{BY_HTTP}/data"
        backend = key(home, "operator", capsys)
        assert client.get(path, headers=backend).status_code == client.delete(path, headers=backend).status_code == 403
        archive = zipfile.ZipFile(BytesIO(client.get(path).content))
        assert len(archive.read("events.jsonl").splitlines()) == 19
        assert len(archive.read("embeddings.jsonl").splitlines()) == 2  # of als and hybrid
        assert len(archive.read("releases.jsonl").splitlines()) == 2
        assert client.get("/v1/customers/nobody-at-all/data").status_code == 404

        bad, stopping = [], threading.Event()

        def others():
            with httpx.Client(base_url=service, headers=client.headers, timeout=60) as mine:
                while not stopping.is_set():
                    answers = [recommend(mine, who) for who in (MEMBERS[6], BY_HTTP)]
                    bad.extend(a.text for a in answers if a.status_code != 200)

        load = threading.Thread(target=others)
        load.start()
        asked = client.delete(path)
        assert asked.status_code == 202, asked.text
        # From the answer on, whatever files still hold.
        refused = client.post("/v1/events", json={"events": [event("http-3", BY_HTTP), event("http-4", MEMBERS[6])]})
        assert [r["result"] for r in refused.json()["results"]] == ["erased", "stored"]
        assert client.put(f"/v1/customers/{BY_HTTP}", json={"tags": ["x"]}).status_code == 410
        receipt = asked.json()
        deadline = time.monotonic() + 120
        while receipt["state"] != "done":
            assert time.monotonic() < deadline, (home.parent / "log").read_text()
            time.sleep(0.1)
            receipt = client.get(f"/v1/erasures/{receipt['receipt']}").json()
        stopping.set()
        load.join()
        assert bad == []
        assert traces_of(BY_HTTP, home) == []
        assert receipt["counts"]["releases"] == 2
        assert receipt["counts"]["in MLflow"] == 2
        assert_audited_once(client, receipt["receipt"])

        # Nothing brings the person back: a retry, the old file, the release before.
        assert client.post("/v1/events", json={"events": [sent[0]]}).json()["results"][0]["result"] == "erased"
        assert client.delete(path).json() == receipt
        assert client.delete(path).status_code == 200
        assert client.get(path).status_code == 410
        assert main(["ingest", "--shop", "tea", "--events", str(shop / "events.parquet"), "--home", str(home)]) == 0
        assert "erased: 18" in capsys.readouterr().err
        before = DirectoryStore(home / "shops/tea/releases").current_id()
        assert client.post("/v1/admin/releases/rollback").json()["current"] not in (before, "")
        assert recommend(client, BY_HTTP).status_code == 200
        assert recommend(client, MEMBERS[6]).json()["items"]
    assert traces_of(BY_HTTP, home) == []
    assert BY_HTTP not in (home.parent / "log").read_text()


def test_a_customer_erased_by_the_command_without_a_service_is_nowhere(shop, home, capsys):
    at = ["--shop", "tea", "--home", str(home)]
    assert main(["erase", "--customer", BY_COMMAND, *at]) == 0
    assert "Erased. Receipt e" in capsys.readouterr().out
    assert traces_of(BY_COMMAND, home) == []
    assert traces_of(f"nick of {BY_COMMAND}", home) == []
    # What was made of everybody is still whole, and a new release does not know the person either.
    out = shop / "out.jsonl"
    assert main(["recommend", *at, "--scene", "rebuy", "--k", "3", "--customers", "all", "--out", str(out)]) == 0
    answered = {json.loads(line)["customer_id"] for line in out.read_text().splitlines()}
    assert BY_COMMAND not in answered
    assert len(answered & set(MEMBERS)) >= 38
    kept = [m.release_id for m in DirectoryStore(home / "shops/tea/releases").list()]
    assert sorted(re.sub(r"^r\d.*(-e\d)$", r"r\1", one) for one in kept) == ["r-again-e2", "r-e2"]
    (version,) = open_tracker("", home).client.search_model_versions("name = 'pond-tea'")
    assert version.tags["pond.release"] in kept
    for release in kept:
        assert main(["promote", release, *at]) == 0
        assert main(["recommend", *at, "--scene", "rebuy", "--k", "3", "--customers", "all", "--out", str(out)]) == 0
    assert traces_of(BY_COMMAND, home) == []


def test_one_erasure_after_the_other_leaves_two_releases_and_nobody_of_them(home):
    store = DirectoryStore(home / "shops/tea/releases")
    gone = MEMBERS[20:23]
    for number, who in enumerate(gone, 1):
        assert traces_of(who, home)
        before = {m.release_id for m in store.list()}
        done = subprocess.run(
            [sys.executable, "-m", "pond.cli.main", "erase", "--shop", "tea", "--customer", who, "--home", str(home)],
            capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [one for one in gone[:number] if traces_of(one, home)] == []
        after = {m.release_id for m in store.list()}
        assert (len(after), after & before) == (2, set())
        assert store.current_id() in after
    for one in (m.release_id for m in store.list()):
        assert set(MEMBERS[23:]) <= set(store.load(one).models.customers.ids.texts)
