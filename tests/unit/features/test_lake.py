"""The lake: seen whole or not at all, by any number of writers; damage is named, leftovers are not read."""

import threading
from pathlib import Path

import polars as pl
import pytest

from features.contracts import TABLES, table_named
from features.errors import ArtifactCorrupt, ReleaseError, UsageError
from features.lake import Lake


def consents(*customers: str) -> pl.DataFrame:
    rows = pl.DataFrame({"customer_id": customers, "at": 10**15, "state": "on"})
    schema = table_named("consents").schema
    return rows.with_columns(pl.lit(None, t).alias(n) for n, t in schema.items() if n not in rows.columns).select(
        schema.names()
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def who(lake: Lake) -> list[str]:
    return lake.scan("consents").collect()["customer_id"].to_list()


def test_every_table_is_empty_with_its_contract_before_the_first_commit(lake) -> None:
    for name, table in TABLES.items():
        assert lake.scan(name).collect_schema() == table.schema
        assert lake.rows(name) == 0
    with pytest.raises(UsageError, match="There is no table 'orders'"):
        lake.scan("orders")


def test_appended_rows_come_back_in_order_with_exact_types(lake) -> None:
    lake.append("consents", consents("a", "b"), source="first.csv")
    commit = lake.append("consents", consents("c"), meta={"epoch": 3, "end": "5-0"})
    assert who(lake) == ["a", "b", "c"]
    assert lake.scan("consents").collect().schema == table_named("consents").schema
    assert commit is not None
    assert Lake(lake.root).commits("consents")[1] == commit
    assert commit.meta == {"epoch": 3, "end": "5-0"}


def test_rows_of_another_shape_are_refused(lake) -> None:
    with pytest.raises(ValueError, match="must have the schema"):
        lake.append("consents", consents("a").drop("source"))


def test_what_is_not_committed_is_never_seen_and_is_swept(lake) -> None:
    with lake.writer("consents") as writer:
        writer.write(consents("a"))
    lake.write_part("consents", consents("crashed"))
    (lake.root / "consents" / "_log" / "x.tmp").write_text("half")
    assert who(lake) == []
    assert lake.sweep("consents") == []
    assert len(lake.sweep("consents", older_than_s=-1)) == 2


def test_writers_that_collide_both_get_in(lake) -> None:
    def write(name: str) -> None:
        for n in range(5):
            Lake(lake.root).append("consents", consents(f"{name}{n}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(who(lake)) == sorted(f"{name}{n}" for name in "xyz" for n in range(5))
    assert [commit.number for commit in lake.commits("consents")] == list(range(1, 16))


def test_compaction_changes_files_but_no_row(lake) -> None:
    for name in "abc":
        lake.append("consents", consents(name))
    held = lake.scan("consents")
    assert lake.compact("consents") is not None
    assert lake.compact("consents") is None
    lake.append("consents", consents("d"))
    assert who(lake) == ["a", "b", "c", "d"]
    assert held.collect()["customer_id"].to_list() == ["a", "b", "c"]
    assert len(lake.sweep("consents", older_than_s=-1)) == 3
    assert who(Lake(lake.root)) == ["a", "b", "c", "d"]


def test_any_flipped_or_missing_byte_is_named_with_its_file(lake) -> None:
    lake.append("consents", consents("a"))
    for path in [*lake.root.glob("consents/*.parquet"), *lake.root.glob("consents/_log/*.json")]:
        whole = path.read_bytes()
        damaged = [
            whole[:-1],
            b"",
            *(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(0, len(whole), 29)),
        ]
        for data in damaged:
            path.write_bytes(data)
            with pytest.raises(ArtifactCorrupt, match=path.name):
                Lake(lake.root).scan("consents")
        path.unlink()
        if path.suffix == ".parquet":
            with pytest.raises(ArtifactCorrupt, match=path.name):
                Lake(lake.root).scan("consents")
        path.write_bytes(whole)
    assert who(Lake(lake.root)) == ["a"]


def test_a_gap_in_the_log_is_damage(lake) -> None:
    for name in "ab":
        lake.append("consents", consents(name))
    next(lake.root.glob("consents/_log/*1.json")).unlink()
    with pytest.raises(ArtifactCorrupt, match="has a gap"):
        lake.scan("consents")


def test_a_table_of_a_newer_pond_is_refused(lake, monkeypatch) -> None:
    lake.append("consents", consents("a"))
    path = next(lake.root.glob("consents/_log/*.json"))
    monkeypatch.setattr("features.commits.digest_of_bytes", lambda data: "0")
    text = path.read_text().replace('"format_version": 1', '"format_version": 99')
    path.write_text(text.replace(text.split('"digest": "')[1].split('"')[0], "0", 1))
    with pytest.raises(ReleaseError, match="newer Pond"):
        lake.scan("consents")
