"""Good input: the same events whatever format, batch or column order they come in, and never twice."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from features.dataset import build_dataset
from features.ingest import TableMapping, ingest_file, load_mapping
from features.ingest.parquet_rows import BATCH_ROWS
from features.lake import Lake
from features.shop import Shop, create_shop

HEADER = "customer_id,kind,at,item_id,quantity,price\n"
ROWS = "c1,purchase,2024-05-01T10:00:00+08:00,p1,1,2.5\nc2,view,2024-05-02T10:00:00+08:00,p2,,\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return create_shop(tmp_path, "toy", "Asia/Shanghai")


def write(tmp_path: Path, content: str | bytes, name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(shop: Shop, name: str = "events") -> pl.DataFrame:
    return Lake(shop.lake_dir).scan(name).collect()


def counts(report) -> tuple[int, int, int]:
    return report.accepted, report.duplicates, report.rejected


def test_the_same_events_in_any_format_are_the_same_events(shop, tmp_path) -> None:
    rows = [
        {"customer_id": "c1", "kind": "purchase", "at": "2024-05-01T02:00:00Z", "item_id": "p1",
         "quantity": 1, "price": 2.5},
        {"customer_id": "c2", "kind": "view", "at": "2024-05-02T02:00:00Z", "item_id": "p2"},
    ]  # fmt: skip
    jsonl = "".join(json.dumps(row) + "\n" for row in rows)
    frame = pl.DataFrame(rows).with_columns(pl.col("at").str.to_datetime(time_zone="UTC"))
    frame.select(reversed(frame.columns)).write_parquet(tmp_path / "e.parquet")
    assert counts(ingest_file(shop, "events", write(tmp_path, HEADER + ROWS))) == (2, 0, 0)
    for path in (
        write(tmp_path, b"\xef\xbb\xbf" + (HEADER + ROWS).replace("\n", "\r\n").encode(), "bom.csv"),
        write(tmp_path, gzip.compress((HEADER + ROWS).encode()), "e.csv.gz"), write(tmp_path, jsonl, "e.jsonl"),
        write(tmp_path, gzip.compress(jsonl.encode()), "e.jsonl.gz"), tmp_path / "e.parquet",
        write(tmp_path, (HEADER + ROWS).replace(",", ";"), "semicolon.csv"),
    ):  # fmt: skip
        mapping = TableMapping(separator=";") if path.stem == "semicolon" else None
        assert counts(ingest_file(shop, "events", path, mapping)) == (0, 2, 0)
    assert table(shop).height == 2


def test_two_identical_lines_stay_two_and_an_overlapping_export_adds_only_what_is_new(shop, tmp_path) -> None:
    line = ROWS.splitlines(keepends=True)[0]
    assert counts(ingest_file(shop, "events", write(tmp_path, HEADER + line * 2))) == (2, 0, 0)
    later = write(tmp_path, HEADER + ROWS + line, "later.csv")
    assert counts(ingest_file(shop, "events", later)) == (1, 2, 0)
    assert table(shop)["event_id"].n_unique() == 3


def test_event_ids_do_not_depend_on_batches(shop, tmp_path) -> None:
    n = BATCH_ROWS + 1_000
    lines = [f"c{i % 7},view,2024-05-01,p{i % 11},,\n" for i in range(n)]
    ingest_file(shop, "events", write(tmp_path, HEADER + "".join(lines)))
    frame = pl.DataFrame({"customer_id": [f"c{i % 7}" for i in range(n)], "kind": "view", "at": "2024-05-01"})
    frame = frame.with_columns(item_id=pl.Series([f"p{i % 11}" for i in range(n)]))
    frame.write_parquet(tmp_path / "e.parquet")
    assert counts(ingest_file(shop, "events", tmp_path / "e.parquet")) == (0, n, 0)
    assert table(shop)["event_id"].n_unique() == n


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2024-05-01", "Asia/Shanghai", "2024-04-30T16:00:00"),
        ("2024-05-01 09:30", "Asia/Shanghai", "2024-05-01T01:30:00"),
        ("2024-05-01T09:30:15.250-0330", "Asia/Shanghai", "2024-05-01T13:00:15.250"),
        ("2024-05-01T09:30:15,123456789Z", "Asia/Shanghai", "2024-05-01T09:30:15.123456"),
        ("2024-03-31T02:30:00", "Europe/Berlin", "2024-03-31T01:30:00"),  # in the gap: the offset before it, +01:00
        ("2024-10-27T02:30:00", "Europe/Berlin", "2024-10-27T00:30:00"),  # twice: the first, +02:00
        ("1700000000", "Asia/Shanghai", "2023-11-14T22:13:20"),
        ("1700000000.5", "Asia/Shanghai", "2023-11-14T22:13:20.5"),
        ("1700000000123", "Asia/Shanghai", "2023-11-14T22:13:20.123"),
        ("1700000000123456", "Asia/Shanghai", "2023-11-14T22:13:20.123456"),
    ],
)
def test_times_become_utc_microseconds(tmp_path, text, zone, utc) -> None:
    shop = create_shop(tmp_path, "toy", zone)
    ingest_file(shop, "events", write(tmp_path, f'customer_id,kind,at\nc,view,"{text}"\n'))
    wanted = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert table(shop)["at"].item() == round(wanted.timestamp() * 1_000_000)


def test_quoted_newlines_and_blank_lines_keep_rows_and_line_numbers(shop, tmp_path) -> None:
    text = 'product_id,title\np1,"two\nlines, ""quoted"""\n\np2,5" pipe\n,lost\np3,"plain"\n'
    report = ingest_file(shop, "products", write(tmp_path, text, "products.csv"))
    assert counts(report) == (3, 0, 1)
    assert json.loads(report.rejects_file.read_text())["line"] == 6
    assert table(shop, "products")["title"].to_list() == ['two\nlines, "quoted"', '5" pipe', "plain"]


def test_mapping_renames_fills_in_and_keeps_the_shops_own_columns(shop, tmp_path) -> None:
    columns = '[events]\ncustomer_id = "household"\nitem_id = "sku"\nat = "ts"\ntime_unit = "s"\n'
    toml = columns + '[events.defaults]\nkind = "purchase"\n'
    mapping = load_mapping(write(tmp_path, toml, "columns.toml"))["events"]
    path = tmp_path / "e.parquet"
    pl.DataFrame(
        {"household": [1, 2], "sku": [10.0, 11.0], "ts": [1_700_000_000] * 2, "till": [4, None]}
    ).write_parquet(path)
    report = ingest_file(shop, "events", path, mapping)
    rows = table(shop).sort("customer_id")
    assert rows.select("customer_id", "item_id", "kind", "item_kind", "props").rows() == [
        ("1", "10", "purchase", "product", '{"till":4}'), ("2", "11", "purchase", "product", None)
    ]  # fmt: skip
    assert "till" in report.notes[0]


def test_events_without_item_are_accepted_where_the_kind_has_none(shop, tmp_path) -> None:
    path = tmp_path / "e.parquet"
    pl.DataFrame(
        {"customer_id": ["c"], "item_id": [None], "at": [1_700_000_000_000_000], "kind": ["view"]}
    ).write_parquet(path)
    assert counts(ingest_file(shop, "events", path)) == (1, 0, 0)


def test_changed_products_are_new_versions_and_equal_ones_add_nothing(shop, tmp_path) -> None:
    first = write(tmp_path, "product_id,price,tags,dept\np1,1,a|b,x\np2,2,,\n", "products.csv")
    assert counts(ingest_file(shop, "products", first)) == (2, 0, 0)
    assert counts(ingest_file(shop, "products", first)) == (0, 2, 0)
    now = 1_714_521_600_000_000
    second = write(tmp_path, "product_id,price,tags,dept\np1,9,a|b,x\np2,2,,\np2,3,,\n", "products.csv")
    assert counts(ingest_file(shop, "products", second, now=now)) == (1, 1, 1)
    rows = table(shop, "products")
    assert rows.select("product_id", "price", "valid_from").rows() == [("p1", 1, None), ("p2", 2, None), ("p1", 9, now)]
    assert rows["tags"].to_list() == [["a", "b"], None, ["a", "b"]]
    assert rows["attributes"].to_list() == ['{"dept":"x"}', None, '{"dept":"x"}']


def test_other_tables_take_their_files(shop, tmp_path) -> None:
    for name, text in {
        "contents": "content_id,title,published_at\nk1,敏感肌,2024-05-01\n",
        "bundles": "bundle_id,product_ids\nb1,p1|p2\n",
        "customers": "customer_id,tags,joined_at,age\nc1,vip,2024-05-01,35\n",
        "identities": "id_type,id_value,customer_id\nopenid,o1,c1\n",
        "consents": "customer_id,purpose,channel,at,state\nc1,personalization,,2024-05-01,off\n",
        "campaigns": 'campaign_id,offers\nx,"{""kind"":""cut""}"\n',
    }.items():
        path = write(tmp_path, text, f"{name}.csv")
        assert counts(ingest_file(shop, name, path)) == (1, 0, 0)
        assert counts(ingest_file(shop, name, path)) == (0, 1, 0)
    assert table(shop, "customers")["attributes"].item() == '{"age":"35"}'
    assert table(shop, "bundles")["product_ids"].item().to_list() == ["p1", "p2"]


def test_dataset_is_built_from_the_lake_without_refused_customers(shop, tmp_path) -> None:
    ingest_file(shop, "events", write(tmp_path, HEADER + ROWS))
    consents = "customer_id,purpose,at,state\nc2,personalization,2024-05-01,off\n"
    ingest_file(shop, "consents", write(tmp_path, consents, "consents.csv"))
    dataset = build_dataset(Lake(shop.lake_dir), shop.name, shop.timezone)
    assert dataset.customers.ids.texts == ("c1",)
    assert dataset.counts["purchases"] == 1
