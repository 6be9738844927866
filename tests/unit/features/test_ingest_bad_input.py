"""Every kind of bad input: one plain sentence or one reason a row, the good rows kept, the lake as it was."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from features.errors import ContractError, UnreadableFile
from features.ingest import TableMapping, ingest_file, load_mapping
from features.lake import Lake
from features.shop import Shop, create_shop

HEADER = "customer_id,kind,at,item_id,quantity,price\n"
GOOD = "c1,purchase,2024-05-01T10:00:00,p1,1,2.5\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return create_shop(tmp_path, "toy", "Asia/Shanghai")


def write(tmp_path: Path, content: str | bytes, name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def events(shop: Shop) -> pl.DataFrame:
    return Lake(shop.lake_dir).scan("events").collect()


def rejected(report) -> list[dict]:
    return [json.loads(line) for line in report.rejects_file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("c1,bought,2024-05-01,p1,1,2.5", "kind 'bought' is unknown; use one of impression, view"),
        ("c1,purchase,2024-05-01,p1,-1,2.5", "quantity must be more than 0"),
        ("c1,refund,2024-05-01,p1,0,2.5", "quantity must be more than 0"),
        ("c1,purchase,2024-05-01,p1,one,2.5", "quantity is not a number"),
        ("c1,purchase,2024-05-01,p1,nan,2.5", "quantity is not a number"),
        ("c1,purchase,2024-05-01,p1,1,-2.5", "price must be at least 0"),
        ("c1,purchase,2024-13-45,p1,1,2.5", "at is not a time"),
        ("c1,purchase,2024-05-01T25:00,p1,1,2.5", "at is not a time"),
        ("c1,purchase,2250-05-01,p1,1,2.5", "at is an impossible time"),
        ("c1,purchase,5,p1,1,2.5", "at is an impossible time"),
        ("c1,purchase,,p1,1,2.5", "at is missing"),
        (",purchase,2024-05-01,p1,1,2.5", "customer_id is missing"),
        ('"  ",purchase,2024-05-01,p1,1,2.5', "customer_id is blank"),
        ("c" * 257 + ",purchase,2024-05-01,p1,1,2.5", "customer_id is longer than 256 characters"),
        ("c\x001,purchase,2024-05-01,p1,1,2.5", "customer_id holds a NUL"),
        ("c1,purchase,2024-05-01,,1,2.5", "item_id is missing: a purchase is of some item"),
        ("c1,purchase,2024-05-01,p1,1", "has 5 fields, the header has 6"),
        ("c1,purchase,2024-05-01,p1,1,2.5,7", "has 7 fields, the header has 6"),
        ('c1,purchase,2024-05-01,"p1"x,1,2.5', "is not CSV"),
    ],
)
def test_bad_row_is_set_aside_with_line_and_reason_and_its_neighbours_are_kept(shop, tmp_path, line, reason) -> None:
    path = write(tmp_path, HEADER + GOOD + line + "\n" + GOOD.replace("c1", "c2"))
    report = ingest_file(shop, "events", path)
    assert (report.accepted, report.duplicates, report.rejected) == (2, 0, 1)
    (row,) = rejected(report)
    assert row["line"] == 3
    assert row["row"] == line
    assert row["reason"].startswith(reason)
    assert events(shop)["customer_id"].to_list() == ["c1", "c2"]


def gz_cut(text: str) -> bytes:
    return gzip.compress(text.encode() * 2_000)[:-30]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("events.csv", "customer_id,kind,item_id\nc,view,p\n", "events.at: is a missing column: 'events.csv' has"),
        ("events.csv", "customer_id;kind;at\nc;view;2024-05-01\n", "is its separator another than ','"),
        ("events.csv", "customer_id,kind,at,at\n", "stands twice in the header"),
        ("events.csv", "", "is empty"),
        ("events.csv", "\n", "empty first line"),
        (
            "events.csv",
            (HEADER + GOOD).encode() + "顾客,view,2024-05-01,p,1,1\n".encode("gb18030"),
            "is not UTF-8 (line 3)",
        ),
        ("events.csv", (HEADER + GOOD).encode("utf-16"), "it holds UTF-16 text"),
        ("events.csv", b"PK\x03\x04rest of an Excel file", "it holds a zip or Excel file"),
        ("events.csv", gzip.compress(b"x", mtime=0), "it holds gzip"),
        ("events.csv", '{"customer_id": "c"}\n', "it holds JSON, not CSV"),
        ("events.csv.gz", HEADER, "it holds text, not gzip"),
        ("events.csv.gz", gz_cut(HEADER + GOOD), "damaged or truncated gzip"),
        (
            "events.jsonl.gz",
            gz_cut('{"customer_id":"c","kind":"view","at":"2024-05-01"}\n'),
            "damaged or truncated gzip",
        ),
        ("events.jsonl", HEADER + GOOD, "no line of its beginning is a JSON object"),
        ("events.jsonl", '{"customer_id": "c", "kind": "view"}\n', "events.at: is a missing column"),
        ("events.parquet", HEADER + GOOD, "it holds text, not Parquet"),
        ("events.parquet", b"PAR1 and then nothing", "is damaged or is not Parquet"),
        ("events.xlsx", b"PK", "has a name that says no format"),
    ],
)
def test_unusable_file_is_refused_in_one_sentence_and_the_lake_stays(shop, tmp_path, name, content, sentence) -> None:
    ingest_file(shop, "events", write(tmp_path, HEADER + GOOD, "first.csv"))
    with pytest.raises(ContractError) as caught:
        ingest_file(shop, "events", write(tmp_path, content, name))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert events(shop).height == 1
    assert not list(shop.lake_dir.glob("events/*.tmp"))
    assert len(list(shop.lake_dir.glob("events/*.parquet"))) == 1
    assert not list(shop.rejects_dir.glob("*"))


def test_missing_file_is_one_sentence(shop, tmp_path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        ingest_file(shop, "events", tmp_path / "nowhere.csv")


def test_wrong_type_of_a_whole_column_is_one_sentence(shop, tmp_path) -> None:
    path = tmp_path / "events.parquet"
    pl.DataFrame({"customer_id": [["a"]], "kind": ["view"], "at": [1_700_000_000]}).write_parquet(path)
    with pytest.raises(ContractError, match=r"events.customer_id: holds List\(String\), not text"):
        ingest_file(shop, "events", path)


def test_times_in_another_unit_than_the_others_are_rejected(shop, tmp_path) -> None:
    rows = "c1,view,1700000000000,p,,\nc2,view,1700000000,p,,\nc3,view,1700000000001,p,,\n"
    report = ingest_file(shop, "events", write(tmp_path, HEADER + rows))
    assert (report.accepted, report.rejected) == (2, 1)
    assert rejected(report)[0]["line"] == 3
    assert "mixed time units" in rejected(report)[0]["reason"]
    assert events(shop)["at"].to_list() == [1_700_000_000_000_000, 1_700_000_000_001_000]


def test_same_event_id_counts_as_duplicate_when_equal_and_is_rejected_when_not(shop, tmp_path) -> None:
    head = "event_id,customer_id,kind,at\n"
    path = write(
        tmp_path, head + "e1,c,view,2024-05-01\ne1,c,view,2024-05-01\ne1,d,view,2024-05-01\ne2,c,view,2024-05-01\n"
    )
    report = ingest_file(shop, "events", path)
    assert (report.accepted, report.duplicates, report.rejected) == (2, 1, 1)
    assert rejected(report)[0]["line"] == 4
    again = ingest_file(shop, "events", path)
    assert (again.accepted, again.duplicates, again.rejected) == (0, 3, 1)
    assert events(shop).height == 2


def test_broken_json_line_is_set_aside(shop, tmp_path) -> None:
    good = '{"customer_id": "c", "kind": "view", "at": "2024-05-01", "page": "home"}\n'
    path = write(tmp_path, good + '{"customer_id": \n[1]\n\n' + good, "events.jsonl")
    report = ingest_file(shop, "events", path)
    assert (report.accepted, report.rejected) == (2, 2)
    assert [row["line"] for row in rejected(report)] == [2, 3]
    assert events(shop)["props"].to_list() == ['{"page":"home"}'] * 2


def test_mapping_names_what_is_wrong_with_it(shop, tmp_path) -> None:
    for text, sentence in [
        ("[evnts]\n", "is no table"), ("[events", "not valid TOML"),
        ("[events]\nwho = 'x'\n", "must be a column of events"), ("[events]\ntime_unit = 'h'\n", "must be s, ms or us"),
        ("[events]\nseparator = ';;'\n", "one character"), ("[events]\nencoding = 'x9'\n", "not an encoding"),
        ("[events.defaults]\nwho = 1\n", "plain values for columns"),
    ]:  # fmt: skip
        with pytest.raises(ContractError, match=sentence):
            load_mapping(write(tmp_path, text, "columns.toml"))
    with pytest.raises(ContractError, match="is mapped to 'user', which is not in the file"):
        ingest_file(shop, "events", write(tmp_path, HEADER + GOOD), TableMapping({"customer_id": "user"}))
