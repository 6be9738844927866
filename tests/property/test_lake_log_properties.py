"""A log that is stated and cut tells every reader what the whole log would have told."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import table_named
from features.errors import ArtifactCorrupt
from features.lake import Lake
from features.lineage import Segment, coalesced, lineage, of_parts, states
from features.watermarks import lives, ranges_meta, watermarks

TABLE = "consents"
ACTIONS = ("drained", "empty drain", "file", "merged", "restated", "rewritten", "cut")


def rows(number: int) -> pl.DataFrame:
    schema = table_named(TABLE).schema
    return pl.DataFrame([{"customer_id": f"c{number}", "purpose": "p", "at": number, "state": "on"}], schema=schema)


def describe(lake):
    """What compaction says of the parts it made, every range of its own."""

    def meta(made):
        known = lineage(lake.since_base(TABLE))
        return states({name: coalesced(of_parts(group, known), [], 0) for name, group in made.items()})

    return meta


def act(lake: Lake, action: str, number: int, epoch: str) -> None:
    """Change the lake by one commit; `number` grows from one to the next."""
    ranges = {str(number % 3): (epoch, f"{number}-0", f"{number}-9")}
    if action == "drained":
        lake.append(TABLE, rows(number), source="journal", meta=ranges_meta(ranges))
    elif action == "empty drain":
        lake.commit(TABLE, [], source="journal", meta=ranges_meta(ranges))
    elif action == "file":
        lake.append(TABLE, rows(number), source="some.csv")
    elif action == "rewritten" and (parts := lake.parts(TABLE)):
        meta = states({part.name: of_parts([part], lineage(lake.since_base(TABLE))) for part in parts})
        assert lake.replace_next(TABLE, lake.last_number(TABLE) + 1, parts, (), source="erasure", meta=meta)
    elif action == "merged":
        lake.compact(TABLE, describe(lake))
    elif action in ("restated", "cut"):
        lake.compact(TABLE, describe(lake), restate=True, cut_after_s=-1 if action == "cut" else 3_600)


def told(lake: Lake) -> tuple[list[str], object, object, list[Segment]]:
    """Everything readers learn from a log: rows, how far each partition is, its lives, and where rows came from."""
    commits = lake.commits(TABLE)
    segments = of_parts(lake.parts(TABLE), lineage(lake.since_base(TABLE)))
    return lake.scan(TABLE).collect()["customer_id"].to_list(), watermarks(commits), lives(commits), segments


def logs(lake: Lake) -> list[Path]:
    return sorted((lake.root / TABLE / "_log").glob("*.json"))


@contextmanager
def a_lake() -> Iterator[Lake]:
    with tempfile.TemporaryDirectory() as place:
        yield Lake(Path(place) / "lake")


@settings(max_examples=25, deadline=None)
@given(actions=st.lists(st.sampled_from(ACTIONS), min_size=4, max_size=14), died_after=st.integers(0, 5))
def test_a_cut_log_tells_what_the_whole_one_told(actions, died_after):
    with a_lake() as lake:
        for number, action in enumerate(actions, 1):
            act(lake, action, number, f"life{number // 5}")
            whole = told(Lake(lake.root))
            last, kept = lake.last_number(TABLE), {path: path.read_bytes() for path in logs(lake)}
            lake.sweep(TABLE)
            assert told(Lake(lake.root)) == whole
            assert lake.last_number(TABLE) == last
            swept = [path for path in kept if not path.exists()]
            for path in swept[died_after:]:  # as if whoever deletes, oldest first, had died
                path.write_bytes(kept[path])
            assert told(Lake(lake.root)) == whole
            for after in range(last):
                later = Lake(lake.root).commits(TABLE, after)
                assert later[-1].number == last
                assert later[0].number == after + 1 or later[0].is_statement


@settings(max_examples=20, deadline=None)
@given(actions=st.lists(st.sampled_from(ACTIONS), min_size=3, max_size=9))
def test_any_commit_lost_that_no_other_says_is_cut_is_damage(actions):
    with a_lake() as lake:
        for number, action in enumerate([*actions, "file", "cut", "drained", "cut", "file"], 1):
            act(lake, action, number, "life")
        lake.sweep(TABLE)
        for path in logs(lake)[:-1]:  # that the newest is lost no other file knows: docs/guarantees.md
            kept = path.read_bytes()
            path.unlink()
            with pytest.raises(ArtifactCorrupt, match="gap"):
                Lake(lake.root).scan(TABLE)
            path.write_bytes(kept)


def test_a_log_that_is_cut_all_the_time_never_shows_a_gap_to_who_reads_it(tmp_path):
    lake, done, wrong, looks = Lake(tmp_path / "lake"), threading.Event(), [], []

    def read() -> None:
        fresh, marks, n, after = Lake(lake.root), {}, 0, 0
        try:
            while not done.is_set():
                fewer, n, later = n, fresh.rows(TABLE), fresh.commits(TABLE, after)
                before, marks = marks, watermarks(fresh.commits(TABLE))
                assert n >= fewer
                assert all(int(marks[p].id[:-2]) >= int(mark.id[:-2]) for p, mark in before.items())
                after = later[-1].number if later else after
                looks.append(n)
        except Exception as error:  # noqa: BLE001 - told below, in the thread that can fail the test
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 100):
        act(lake, "cut" if number % 7 == 0 else "drained", number, "life")
        if number % 7 == 0:
            lake.sweep(TABLE)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(set(looks)) > len(readers)
    assert len(logs(lake)) < 20
    assert lake.rows(TABLE) == 99 - 99 // 7


def test_a_log_of_a_pond_that_stated_nothing_is_read_and_cut_from_the_next_statement_on(tmp_path):
    """Format N − 1: bases of compactions that say nothing of the journal."""
    lake = Lake(tmp_path / "lake")
    for number in range(1, 9):
        act(lake, "drained", number, f"life{number // 4}")
    before = told(lake)
    old = Lake(tmp_path / "old")
    shutil.copytree(lake.root, old.root)
    merged = lake.compact(TABLE, describe(lake))
    silent = {name: value for name, value in merged.meta.items() if name == "lineage"}
    for part in merged.added:
        shutil.copy(lake.root / TABLE / part.name, old.root / TABLE / part.name)
    assert old._log(TABLE).add(type(merged)(9, merged.added, merged.removed, 8, source="compaction", meta=silent))
    assert told(old)[:3] == before[:3]
    act(old, "cut", 10, "")  # it finds no statement to cut at, and is one
    assert len(logs(old)) == 10
    act(old, "cut", 11, "")
    old.sweep(TABLE)
    assert [int(path.stem) for path in logs(old)] == [10, 11]
    assert told(old)[:3] == before[:3]
