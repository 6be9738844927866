import json
import sqlite3
from contextlib import closing

import polars as pl
import pytest
import redis

from features.errors import ReleaseError, UsageError
from features.lake import Lake
from models.release_store import DirectoryStore
from service import guardian
from service.control import ControlPlane
from service.live_state import partition_prefix
from service.upgrade import STEPS, examine, upgrade
from tests import serving, worlds


def quiet(_text):
    """Nobody watches."""


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    toy.publish(serving.fitted(worlds.two_tastes(2, 2), ["popular"]), "r1")
    Lake(toy.shop.lake_dir).append("events", worlds.events([("a", "x", 1)]).cast({"position": pl.Int32}))
    ControlPlane.open(toy.settings).close()
    try:
        yield toy
    finally:
        guardian.stop(toy.settings)


def plant_control(toy, version):
    with closing(sqlite3.connect(toy.settings.home / "control.db")) as db, db:
        db.execute("UPDATE format SET version = ?", (version,))


def test_everything_with_a_version_is_found_and_a_current_home_is_left_alone(toy):
    found, changed = upgrade(toy.settings, quiet)
    assert {one.what for one in found} == {"control database", "lake", "release"}
    assert {(one.version, one.current) for one in found} == {(1, 1)}
    assert changed == []


def test_what_is_newer_is_refused_by_name_and_nothing_changes(toy):
    plant_control(toy, 2)
    with pytest.raises(ReleaseError, match=r"control database control.db has format 2, newer.*upgrade Pond"):
        upgrade(toy.settings, quiet)
    plant_control(toy, 1)
    manifest = toy.shop.releases_dir / "r1" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 7}))
    with pytest.raises(ReleaseError, match="release toy/r1 has format 7, newer"):
        upgrade(toy.settings, quiet)
    with pytest.raises(ReleaseError, match="upgrade Pond"):
        DirectoryStore(toy.shop.releases_dir).load("r1")


def test_an_older_version_without_a_step_is_refused_by_name(toy):
    plant_control(toy, 0)
    with pytest.raises(ReleaseError, match="has no step from 0 to 1"):
        upgrade(toy.settings, quiet)


def test_steps_are_taken_once_and_again_when_they_were_broken_off(toy):
    plant_control(toy, -1)
    taken = []

    def step(settings, found):
        taken.append(found.version)
        if len(taken) == 2:
            raise KeyboardInterrupt
        with closing(sqlite3.connect(settings.home / "control.db")) as db, db:
            db.execute("UPDATE format SET version = version + 1")

    steps = {("control database", -1): step, ("control database", 0): step}
    with pytest.raises(KeyboardInterrupt):
        upgrade(toy.settings, quiet, steps)
    _, changed = upgrade(toy.settings, quiet, steps)
    assert [(one.version, one.current) for one in changed] == [(0, 1)]
    assert upgrade(toy.settings, quiet, steps)[1] == []
    assert len(taken) == 3


def test_live_keys_from_before_they_told_their_format_are_upgraded_and_newer_ones_refused(toy):
    meta = partition_prefix("toy", "c") + b"meta"

    def live(*command):
        with redis.Redis.from_url(guardian.start_or_join(toy.settings).url) as client:
            return client.execute_command(*command)

    live("HSET", meta, "partitions", "16")
    live("XADD", partition_prefix("toy", "3") + b"journal", "*", "j", b'{"v":1,"t":"event","row":{}}')
    with guardian.in_use(toy.settings), pytest.raises(UsageError, match="A service runs on"):
        upgrade(toy.settings, quiet)
    found, changed = upgrade(toy.settings, quiet)
    assert ("journal", "toy/3", 1) in {(one.what, one.where, one.version) for one in found}
    assert [(one.what, one.version) for one in changed] == [("live keys", 0)]
    assert ("live keys", 1) in {(one.what, one.version) for one in examine(toy.settings)}
    live("XADD", partition_prefix("toy", "3") + b"journal", "*", "j", b'{"v":9,"t":"event","row":{}}')
    with pytest.raises(ReleaseError, match="journal toy/3 has format 9, newer"):
        upgrade(toy.settings, quiet)
    assert set(STEPS) == {("live keys", 0)}
