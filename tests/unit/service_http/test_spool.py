import asyncio

import pytest

from features.errors import ServiceUnreachable, StorageFull
from service.spool import Spool


class Journal:
    """Remembers what it was given, by id; fails after `room` entries."""

    def __init__(self, room=10**6):
        self.rows, self.room = {}, room

    async def log(self, shop, row):
        if self.room == 0:
            raise ServiceUnreachable("away")
        self.room -= 1
        self.rows.setdefault((shop, row["id"]), []).append(row)


def fill(spool, *ids):
    async def run():
        await asyncio.gather(*(spool.append("toy", {"id": i}) for i in ids))

    asyncio.run(run())


def replay(spool, journal):
    return asyncio.run(spool.replay(journal.log))


def test_what_was_kept_is_replayed_once(tmp_path):
    spool, journal = Spool(tmp_path / "spool"), Journal()
    assert spool.is_empty
    fill(spool, 1, 2, 3)
    assert not spool.is_empty
    assert replay(spool, journal) == 3
    assert replay(spool, journal) == 0
    assert {key: len(rows) for key, rows in journal.rows.items()} == {("toy", 1): 1, ("toy", 2): 1, ("toy", 3): 1}
    fill(spool, 4)
    assert replay(spool, journal) == 1
    assert spool.is_empty


def test_a_replay_broken_off_is_begun_again(tmp_path):
    spool = Spool(tmp_path)
    fill(spool, 1, 2, 3)
    with pytest.raises(ServiceUnreachable):
        replay(spool, Journal(room=2))
    journal = Journal()
    assert replay(spool, journal) == 3


def test_a_dead_workers_spool_is_replayed_by_another_and_a_living_ones_is_not(tmp_path):
    dead, living, other = Spool(tmp_path), Spool(tmp_path), Spool(tmp_path)
    fill(dead, 1)
    dead.close()
    fill(living, 2)
    journal = Journal()
    assert replay(other, journal) == 1
    assert list(journal.rows) == [("toy", 1)]
    assert replay(living, journal) == 1


def test_a_line_without_its_end_was_never_answered_and_is_left_out(tmp_path):
    spool = Spool(tmp_path)
    fill(spool, 1)
    spool.close()
    with next(tmp_path.glob("*.spool")).open("ab") as file:
        file.write(b'{"shop": "toy", "row"')
    journal = Journal()
    assert replay(Spool(tmp_path), journal) == 1
    assert Spool(tmp_path).is_empty


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFull, match="cannot be kept"):
        fill(Spool(tmp_path / "file" / "spool"), 1)
