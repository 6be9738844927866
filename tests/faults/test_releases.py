"""A release that is not what was published is refused by every worker, and the one before goes on serving."""

import json
import os
import shutil
import signal

import pytest

from tests import serving
from tests.serving import wait_for


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    place = tmp_path_factory.mktemp("releases")
    toy = serving.open_toy_shop(place / "home", "toy")
    toy.publish(serving.toy_models(), "good")
    service = serving.RunningService(toy, place / "log")
    wait_for(lambda: len({line["pid"] for line in service.lines() if line["event"] == "release_serves"}) == 2)
    yield service
    service.stop()


def largest(release):
    return max((path for path in release.rglob("*.npy")), key=lambda path: path.stat().st_size)


def a_byte_flipped(release):
    path = largest(release)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def a_file_missing(release):
    largest(release).unlink()


def a_file_truncated(release):
    os.truncate(largest(release), largest(release).stat().st_size // 2)


def a_file_too_many(release):
    (release / "stray.npy").write_bytes(b"\x93NUMPY")


def half_copied(release):
    """As a copy under way leaves it: some files, no manifest yet."""
    (release / "manifest.json").unlink()


def a_manifest_torn(release):
    path = release / "manifest.json"
    path.write_bytes(path.read_bytes()[:200])


def gone(release):
    shutil.rmtree(release)


DAMAGES = (a_byte_flipped, a_file_missing, a_file_truncated, a_file_too_many, half_copied, a_manifest_torn, gone)
POINTERS = ("\x00\xff", '{"release_id": "nowhere"}')


def refusals(service, since, release_id):
    return {
        line["pid"] for line in service.lines()[since:]
        if line["event"] == "release_refused" and line["release"] == release_id
    }  # fmt: skip


def answers_of(service, n=8):
    return {service.fresh_post("/v1/recommend", {"customer_id": "tea-3"})["release"] for _ in range(n)}


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__ for damage in DAMAGES])
def test_a_damaged_release_is_refused_by_every_worker_and_the_old_one_stays(service, damage):
    toy, name, since = service.toy, damage.__name__, len(service.lines())
    pointer = toy.releases.root / "CURRENT"
    before = pointer.read_bytes()
    shutil.copytree(toy.releases.root / "good", toy.releases.root / name)
    manifest = toy.releases.root / name / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"good"', f'"{name}"'))
    damage(toy.releases.root / name)
    pointer.write_text(json.dumps({"release_id": name, "previous": ["good"]}))
    try:
        wait_for(lambda: len(refusals(service, since, name)) == 2)
        assert answers_of(service) == {"good"}
        with service.client() as client:
            ready = client.get("/health/ready")
            assert (ready.status_code, ready.json()["degraded"]) == (
                200, [f"shop toy: release {name} was refused, the one before serves"]
            )  # fmt: skip
    finally:
        pointer.write_bytes(before)
        shutil.rmtree(toy.releases.root / name, ignore_errors=True)


@pytest.mark.parametrize("written", POINTERS, ids=[f"pointer_{n}" for n in range(len(POINTERS))])
def test_a_pointer_that_names_nothing_is_refused_by_every_worker_and_the_old_release_stays(service, written):
    since, pointer = len(service.lines()), service.toy.releases.root / "CURRENT"
    before = pointer.read_bytes()
    pointer.write_text(written, "latin-1")
    try:
        wait_for(
            lambda: len({line["pid"] for line in service.lines()[since:] if line["event"] == "release_refused"}) == 2
        )
        assert answers_of(service) == {"good"}
    finally:
        pointer.write_bytes(before)


def test_a_worker_that_starts_beside_a_damaged_release_serves_the_one_before(service):
    toy, since = service.toy, len(service.lines())
    (toy.releases.root / "CURRENT").write_text('{"release_id": "bad", "previous": ["lost", "good"]}')
    wait_for(lambda: len(refusals(service, since, "bad")) == 2)
    for pid in service.children("service.app"):
        os.kill(pid, signal.SIGKILL)
    fresh = lambda: {line["pid"] for line in service.lines()[since:] if line["event"] == "release_serves"}  # noqa: E731
    wait_for(lambda: len(fresh()) >= 2)
    assert answers_of(service) == {"good"}
    toy.releases.rollback()
    with service.client() as client:
        wait_for(lambda: client.get("/health/ready").json()["degraded"] == [])
