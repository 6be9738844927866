"""Feature tables: equal to plain arithmetic, and the same from Polars and pandas."""

import polars as pl

from features.tables import customer_product_table, customer_table, product_table, purchase_lines

DAY = 86_400_000_000
EVENTS = pl.DataFrame(
    {
        "customer_id": ["a", "a", "a", "a", "b", "b", "b"],
        "kind": ["purchase", "purchase", "purchase", "view", "purchase", "purchase", "purchase"],
        "item_kind": ["product"] * 6 + ["bundle"],
        "item_id": ["x", "y", "x", "x", "x", "x", "z"],
        "at": [DAY, DAY + 1, 3 * DAY, 4 * DAY, 5 * DAY, 5 * DAY + 7, 6 * DAY],
        "quantity": [2.0, None, 1.0, None, 1.0, 1.0, 1.0],
        "price": [1.25, 0.1, None, None, 9.99, 0.01, 5.0],
        "order_id": ["o1", "o1", "o2", None, None, None, None],
    }
)
CUSTOMERS = [
    {"customer_id": "a", "purchases": 3, "baskets": 2, "products": 2, "cents": 260, "first_at": DAY, "last_at": 3 * DAY,
     "mean_gap_us": 2 * DAY},
    {"customer_id": "b", "purchases": 2, "baskets": 1, "products": 1, "cents": 1000, "first_at": 5 * DAY,
     "last_at": 5 * DAY + 7, "mean_gap_us": None},
]  # fmt: skip


def test_customer_table_is_plain_arithmetic() -> None:
    assert customer_table(purchase_lines(EVENTS)).sort("customer_id").to_dicts() == CUSTOMERS


def test_lazy_frames_stay_lazy_and_give_the_same() -> None:
    lazy = customer_table(purchase_lines(EVENTS.lazy()))
    assert lazy.collect().sort("customer_id").to_dicts() == CUSTOMERS


def test_product_table_counts_buyers_once() -> None:
    assert product_table(purchase_lines(EVENTS)).sort("item_id").to_dicts() == [
        {"item_id": "x", "buyers": 2, "purchases": 4, "cents": 1250, "first_at": DAY, "last_at": 5 * DAY + 7},
        {"item_id": "y", "buyers": 1, "purchases": 1, "cents": 10, "first_at": DAY + 1, "last_at": DAY + 1},
    ]


def test_customer_product_table_counts_baskets() -> None:
    rows = customer_product_table(purchase_lines(EVENTS)).sort("customer_id", "item_id").to_dicts()
    assert rows == [
        {"customer_id": "a", "item_id": "x", "purchases": 2, "baskets": 2, "last_at": 3 * DAY},
        {"customer_id": "a", "item_id": "y", "purchases": 1, "baskets": 1, "last_at": DAY + 1},
        {"customer_id": "b", "item_id": "x", "purchases": 2, "baskets": 1, "last_at": 5 * DAY + 7},
    ]


def test_pandas_gives_the_same_tables() -> None:
    frame = EVENTS.to_pandas()
    for make, keys in (
        (customer_table, ["customer_id"]), (product_table, ["item_id"]),
        (customer_product_table, ["customer_id", "item_id"]),
    ):  # fmt: skip
        ours = make(purchase_lines(EVENTS)).sort(keys)
        theirs = pl.from_pandas(make(purchase_lines(frame))).sort(keys)
        assert theirs.columns == ours.columns
        assert theirs.cast(ours.schema).to_dicts() == ours.to_dicts()
