from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from features.lake import Lake
from pond.demo.calls import choose_guests
from pond.demo.journey import write_journey

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_journey(tmp_path_factory.mktemp("journey"), NOW, n_households=5)


def test_the_year_ends_in_the_week_before_now_and_keeps_its_weekdays(files):
    whole = write_journey(files.events.parent / "later", NOW + timedelta(days=7), n_households=5)
    assert whole.weeks == files.weeks + 1
    last = pl.read_parquet(files.events)["at"].max()
    # The source's last receipt, of any household, is from 2018-01-01 04:01:20 UTC.
    end = datetime(2018, 1, 1, 4, 1, 20, tzinfo=UTC) + timedelta(weeks=files.weeks)
    assert NOW - timedelta(days=7) < end <= NOW
    assert last <= end.timestamp() * 1_000_000


def test_what_is_no_goods_is_left_out_and_counted(files):
    events, products = pl.read_parquet(files.events), pl.read_parquet(files.products)
    assert events["quantity"].min() > 0
    assert set(files.left_out) == {"fuel and coupon lines", "lines of quantity 0"}
    assert all(count > 0 for count in files.left_out.values())
    assert not products["category"].str.starts_with("FUEL").any()
    assert files.rows == {"events": len(events), "products": len(products), "customers": files.rows["customers"]}


def test_products_have_names_paths_and_prices(files):
    products = pl.read_parquet(files.products)
    assert products["title"].null_count() == 0
    sold = pl.read_parquet(files.events)["item_id"].unique()
    assert products.filter(pl.col("product_id").is_in(sold.implode()))["price"].null_count() == 0
    assert products["category"].str.split("/").list.len().max() == 3
    assert products["product_id"].is_unique().all()


def test_the_price_is_what_one_unit_cost(files):
    events = pl.read_parquet(files.events)
    assert events.filter(pl.col("price") < 0).is_empty()
    assert events["retail_disc"].drop_nulls().min() > 0


class InMemory(Lake):
    def __init__(self, frame):
        self.frame = frame

    def scan(self, table):
        return self.frame.lazy()


def test_guests_are_two_regulars_and_somebody_light(files):
    baskets = {"a": 1, "b": 2, "c": 5, "d": 9, "e": 12, "f": 15, "g": 20, "h": 30, "i": 40, "j": 90}
    frame = pl.DataFrame(
        [(who, f"{who}{n}") for who, count in baskets.items() for n in range(count)],
        schema=["customer_id", "order_id"],
        orient="row",
    )
    guests = choose_guests(InMemory(frame))
    assert guests.light == ("b", 2)
    assert guests.regulars == (("j", 90), ("i", 40))
