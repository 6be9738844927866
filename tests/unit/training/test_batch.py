"""Files of customers in, rows out."""

import polars as pl
import pytest

from features.errors import ContractError, UnreadableFile, UsageError
from models.catalogue import SOURCES
from models.config import validated_pipeline_config
from models.rng import derived_rng
from models.trained import Models
from tests import worlds
from tests.worlds import day
from training.batch import COLUMNS, CustomerRow, read_customers, recommend_batch, write_recommendations

PLAIN = ("popular", "repeat", "itemknn")


@pytest.fixture(scope="module")
def models():
    data = worlds.two_tastes()
    config = validated_pipeline_config({}, "test")
    return Models.of(data, config, {n: SOURCES[n].fit(data, config.source(n), derived_rng(0, n)) for n in PLAIN})


def answer(models, rows, scene="discover", k=1, **more):
    return recommend_batch(models, rows, scene, k, workers=1, **more).frame


def test_answers_stand_in_the_order_of_the_rows_with_rank_and_reason(models):
    frame = answer(models, [CustomerRow("tea-3"), CustomerRow("coffee-2")], k=2)
    assert frame.columns == [name for name in COLUMNS if name != "query_id"]
    assert frame["customer_id"].to_list() == ["tea-3", "tea-3", "coffee-2", "coffee-2"]
    assert frame["rank"].to_list() == [1, 2, 1, 2]
    assert frame["item_id"].to_list()[::2] == ["tea3", "coffee2"]
    assert frame["reason_zh"].str.len_chars().min() > 0


def test_query_ids_come_back(models):
    frame = answer(models, [CustomerRow("tea-3", query_id="q7")])
    assert frame["query_id"].to_list() == ["q7"]


def test_a_row_sees_only_what_lies_strictly_before_its_moment(models):
    early, late = CustomerRow("tea-3", at=day(13)), CustomerRow("tea-3", at=day(13) + 1)
    assert answer(models, [early], "rebuy")["stage"].to_list() == []
    assert answer(models, [late], "rebuy")["item_id"].to_list() == ["tea0"]


def test_events_after_the_release_count_before_the_moment_of_a_row(models):
    later = worlds.events([("tea-3", "tea3", 41), ("tea-3", "bread", 43), ("new", "coffee1", 42)])
    lake = worlds.ToyTables({"events": later})
    rows = [CustomerRow("tea-3", at=day(42)), CustomerRow("new", at=day(44)), CustomerRow("new", at=day(42))]
    frame = answer(models, rows, "rebuy", k=8, lake=lake)
    assert "tea3" in frame.filter(pl.col("customer_id") == "tea-3")["item_id"].to_list()
    assert frame.filter(pl.col("customer_id") == "new")["item_id"].to_list() == ["coffee1"]


def test_who_refused_personalization_since_is_a_stranger(models):
    consents = worlds.rows_of(
        "consents", [{"customer_id": "tea-3", "purpose": "personalization", "at": day(41), "state": "off"}]
    )
    lake = worlds.ToyTables({"events": worlds.events([("tea-3", "tea3", 41)]), "consents": consents})
    assert answer(models, [CustomerRow("tea-3", at=day(42))], "rebuy", k=3, lake=lake).is_empty()
    frame = answer(models, [CustomerRow("tea-3", at=day(42))], "home", k=3, lake=lake)
    assert set(frame["reason_code"]) <= {"popular", "fallback_popular"}


def test_what_answers_lack_is_counted_by_cause_whatever_the_number_of_places(models):
    rows = [CustomerRow("tea-3"), CustomerRow("coffee-2"), CustomerRow("nobody"), CustomerRow("nobody else")]
    why = "shorter than asked: this scene shows only what was bought before, and"
    found = recommend_batch(models, rows, "rebuy", 6, workers=1)
    assert found.n_degraded == 4
    assert found.causes == {
        "next_basket: not in this release": 4, f"{why} nothing more may be shown": 2, f"{why} nothing was": 2
    }  # fmt: skip
    whole = recommend_batch(models, rows, "popular", 6, workers=1)
    assert (whole.n_degraded, whole.causes) == (0, {})


def test_scenes_that_start_from_a_basket_use_the_basket(models):
    frame = answer(models, [CustomerRow("nobody", basket=("coffee0", "coffee1", "no-such"))], "cart", k=3)
    assert set(frame["item_id"]) <= {"coffee2", "coffee3", "coffee4", "bread"}
    assert "coffee0" not in set(frame["item_id"])


def test_mistakes_are_named(models):
    with pytest.raises(UsageError, match="no scene 'hom'"):
        answer(models, [CustomerRow("a")], "hom")
    with pytest.raises(UsageError, match="k is 0"):
        answer(models, [CustomerRow("a")], k=0)


def test_no_rows_give_an_empty_table_with_all_columns(models):
    assert answer(models, []).schema == {n: t for n, t in COLUMNS.items() if n != "query_id"}


def test_one_id_a_line(models, tmp_path):
    (tmp_path / "ids.txt").write_text("tea-1\n\ntea-2\n")
    assert read_customers(tmp_path / "ids.txt", models) == [CustomerRow("tea-1"), CustomerRow("tea-2")]
    assert len(read_customers("all", models)) == 12


def test_an_id_that_contains_the_column_name_stays_an_id(models, tmp_path):
    (tmp_path / "ids.txt").write_text("my_customer_id_1\ntea-2\n")
    assert read_customers(tmp_path / "ids.txt", models) == [CustomerRow("my_customer_id_1"), CustomerRow("tea-2")]


def test_csv_with_moment_and_basket(models, tmp_path):
    path = tmp_path / "who.csv"
    path.write_text("query_id,customer_id,at,basket\nq1,007,2025-01-02T00:00:00,a|b\nq2,8,2025-01-01,\n")
    first, second = read_customers(path, models)
    assert first == CustomerRow("007", "q1", day(1), ("a", "b"))
    assert second == CustomerRow("8", "q2", day(0), ())


def test_parquet_with_epochs_and_lists(models, tmp_path):
    path = tmp_path / "who.parquet"
    pl.DataFrame({"customer_id": [7], "at": [day(3)], "basket": [["a"]]}).write_parquet(path)
    assert read_customers(path, models) == [CustomerRow("7", None, day(3), ("a",))]


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("a.csv", b"customer_id,when\n1,2\n", ContractError, "when"),
        ("a.csv", b"\n", UnreadableFile, "is empty"),
        ("a.csv", b"customer,at\n1,2\n", ContractError, "customer"),
        ("a.csv", b"customer_id,at\n1,yesterday\n", ContractError, "not a time"),
        ("a.csv", b"customer_id,at\n,2025-01-01\n", ContractError, "is missing"),
        ("a.csv", b"customer_id\n\xff\xfe\n", UnreadableFile, "UTF-8"),
        ("a.parquet", b"not parquet", UnreadableFile, "as its name says"),
        ("missing/a.csv", None, UsageError, "no file"),
    ],
)
def test_bad_files_are_one_sentence(models, tmp_path, name, content, error, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=words):
        read_customers(path, models)


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_files_hold_what_was_answered(models, tmp_path, name):
    frame = answer(models, [CustomerRow("tea-3")], k=2)
    write_recommendations(frame, tmp_path / name)
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[name.rpartition(".")[2]]
    assert read(tmp_path / name)["item_id"].to_list() == frame["item_id"].to_list()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_csv_cells_cannot_run_as_formulas(tmp_path):
    frame = pl.DataFrame({"item_id": ["=1+1", "-5", "@x", "+y", "a-b"], "score": [-1.0, 1, 1, 1, 1]})
    write_recommendations(frame, tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert lines == ["'=1+1,-1.0", "'-5,1.0", "'@x,1.0", "'+y,1.0", "a-b,1.0"]


def test_an_unknown_extension_is_refused(tmp_path):
    with pytest.raises(UsageError, match="extension"):
        write_recommendations(pl.DataFrame(), tmp_path / "out.xlsx")


def test_stock_and_status_hold_as_they_were_at_the_moment_of_a_row(models):
    changes = [
        {"product_id": "bread", "stock": 0.0, "valid_from": day(41)},
        {"product_id": "bread", "stock": 9.0, "valid_from": day(43)},
        {"product_id": "coffee0", "status": "hidden", "valid_from": day(41)},
        {"product_id": "tea-9", "category": "drinks/tea", "stock": 2.0, "valid_from": day(42)},
    ]
    lake = worlds.ToyTables({"products": worlds.rows_of("products", changes)})
    moments = (40, 41.5, 42.5, 43.5)
    rows = [CustomerRow("nobody", query_id=str(at), at=day(at)) for at in moments]

    def shown(scene, **more):
        frame = answer(models, rows, scene, k=20, lake=lake, **more)
        return [set(frame.filter(pl.col("query_id") == str(at))["item_id"]) for at in moments]

    popular = shown("popular")
    assert ["bread" in items for items in popular] == [True, False, False, True]
    assert ["coffee0" in items for items in popular] == [True, False, False, False]
    assert ["tea-9" in items for items in shown("new")] == [False, False, True, True]
    assert ["tea-9" in items for items in shown("new", low_stock=2.0)] == [False] * 4
    assert ["bread" in items for items in shown("popular", low_stock=9.0)] == [True, False, False, False]
