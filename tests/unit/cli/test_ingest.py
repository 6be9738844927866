import gzip

import pytest

from features.lake import Lake
from features.shop import open_shop
from pond.cli.main import main


@pytest.fixture
def home(tmp_path):
    assert main(["shop", "create", "tea", "--home", str(tmp_path / "h")]) == 0
    return tmp_path / "h"


def pond(home, *words):
    return main([*map(str, words), "--home", str(home)])


def rows_of(home, table):
    return Lake(open_shop(home, "tea").lake_dir).scan(table).collect()


def test_good_rows_come_in_and_bad_ones_are_set_aside_with_their_line(home, tmp_path, capsys):
    file = tmp_path / "events.csv"
    file.write_text(
        "customer_id,kind,at,item_id,quantity\nann,purchase,2025-01-01 10:00:00,oolong,1\n"
        "ann,purchase,2025-01-02 10:00:00,oolong,-3\nbob,dance,2025-01-02 10:00:00,oolong,1\n"
    )
    assert pond(home, "ingest", "--shop", "tea", "--events", file) == 0
    said = capsys.readouterr()
    assert rows_of(home, "events")["customer_id"].to_list() == ["ann"]
    rejects = next((home / "shops/tea/rejects").iterdir())
    assert str(rejects) in said.err.replace("\n", "")
    assert '"line":4' in rejects.read_text().replace(" ", "")


def test_a_mapping_file_names_the_columns(home, tmp_path):
    file, mapping = tmp_path / "till.csv.gz", tmp_path / "columns.toml"
    file.write_bytes(gzip.compress("会员;时间;商品\nann;2025-01-01 10:00:00;oolong\n".encode()))
    mapping.write_text(
        '[events]\ncustomer_id = "会员"\nat = "时间"\nitem_id = "商品"\nseparator = ";"\n'
        '[events.defaults]\nkind = "purchase"\n'
    )
    assert pond(home, "ingest", "--shop", "tea", "--events", file, "--map", mapping) == 0
    assert rows_of(home, "events").select("customer_id", "kind", "item_id").rows() == [("ann", "purchase", "oolong")]


def test_the_same_file_twice_adds_nothing(home, tmp_path):
    file = tmp_path / "products.jsonl"
    file.write_text('{"product_id": "oolong", "title": "乌龙茶"}\n')
    for _ in range(2):
        assert pond(home, "ingest", "--shop", "tea", "--products", file) == 0
    assert rows_of(home, "products")["title"].to_list() == ["乌龙茶"]


def test_a_file_that_breaks_the_contract_is_exit_3_and_changes_nothing(home, tmp_path, capsys):
    file = tmp_path / "events.csv"
    file.write_text("customer_id,kind\nann,purchase\n")
    assert pond(home, "ingest", "--shop", "tea", "--events", file) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert rows_of(home, "events").height == 0


def test_reasons_that_are_not_named_are_counted(home, tmp_path, capsys):
    file = tmp_path / "events.csv"
    bad = [
        "c,p,purchase,never,1,1", ",p,purchase,2025-01-01,1,1", "c,p,buy,2025-01-01,1,1",
        "c,p,purchase,2025-01-01,-1,1", "c,p,purchase,2025-01-01,x,1", "c,p,purchase,2025-01-01,1,x",
        "c,p,sell,2025-01-01,1,1",
    ]  # fmt: skip
    file.write_text("\n".join(["customer_id,item_id,kind,at,quantity,price", *bad]))
    assert pond(home, "ingest", "--shop", "tea", "--events", file) == 0
    assert "  2 × other reasons\n" in capsys.readouterr().err


def test_a_directory_is_called_one(home, tmp_path, capsys):
    assert pond(home, "ingest", "--shop", "tea", "--events", tmp_path) == 2
    assert "is a directory, not a file; nothing was read." in capsys.readouterr().err
