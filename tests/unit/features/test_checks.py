"""Each check passes on a tidy shop and fails on the fault it is named for."""

from pathlib import Path

import polars as pl
import pytest

from features.checks import CHECKS, run_checks
from features.contracts import table_named
from features.lake import Lake
from features.shop import Shop, create_shop

DAY = 86_400_000_000
START = 1_704_067_200_000_000  # 2024-01-01 UTC


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return create_shop(tmp_path, "toy", "UTC")


def put(shop: Shop, table: str, rows: list[dict]) -> None:
    schema = table_named(table).schema
    Lake(shop.lake_dir).append(table, pl.DataFrame(rows, schema_overrides=schema).select(
        pl.col(n).cast(t) if n in rows[0] else pl.lit(None, t).alias(n) for n, t in schema.items()
    ))  # fmt: skip


def event(day: int, n: int, **changes) -> dict:
    return {
        "event_id": f"{day}-{n}", "customer_id": f"c{n}", "kind": "purchase", "at": START + day * DAY + n,
        "item_kind": "product",
        "item_id": f"p{n % 3}", "price": 2.0, "order_id": f"o{day}-{n}", "touch_id": None,
    } | changes  # fmt: skip


def tidy(shop: Shop) -> None:
    put(shop, "events", [event(day, n) for day in range(42) for n in range(20)])
    put(shop, "products", [{"product_id": f"p{n}", "stock": 1.0, "price": 2.0, "cost": 1.0} for n in range(3)])
    put(shop, "customers", [{"customer_id": f"c{n}"} for n in range(20)])
    put(shop, "consents", [{"customer_id": "c1", "purpose": "marketing", "at": START, "state": "off"}])


def status(shop: Shop) -> dict[str, str]:
    return {result.name: result.status for result in run_checks(Lake(shop.lake_dir), shop)}


def test_tidy_shop_passes_every_check(shop) -> None:
    tidy(shop)
    assert status(shop) == dict.fromkeys(CHECKS, "PASS")


def test_empty_shop_skips_every_check(shop) -> None:
    assert status(shop) == dict.fromkeys(CHECKS, "SKIP")


@pytest.mark.parametrize(
    ("name", "table", "rows"),
    [
        ("order", "events", [event(0, 1, event_id="x", at=4 * 10**15)]),
        ("order", "events", [event(40, 1, event_id="x", order_id="o0-1")]),
        (
            "order",
            "events",
            [event(3, 1, event_id="u", kind="open", touch_id="t"),
             event(4, 1, event_id="y", kind="sent", touch_id="t")],
        ),
        ("duplicates", "events", [event(1, 1, event_id=f"x{n}") for n in range(100)]),
        ("gaps", "events", [event(60, 1, event_id="x")]),
        ("volume", "events", [event(20, n, event_id=f"x{n}") for n in range(400)]),
        ("unknown_items", "events", [event(1, n, event_id=f"x{n}", item_id="?") for n in range(20)]),
        ("prices", "events", [event(1, n, event_id=f"x{n}", price=0.0) for n in range(60)]),
        ("prices", "events", [event(1, n, event_id=f"x{n}", price=900.0) for n in range(60)]),
        ("catalogue", "products", [{"product_id": "p0", "stock": -1.0}]),
        ("catalogue", "products", [{"product_id": "p0", "price": 2.0, "member_price": 2.5}]),
        ("catalogue", "bundles", [{"bundle_id": "b", "product_ids": ["p0", "?"]}]),
        ("consents", "consents", [{"customer_id": "c1", "purpose": "personalisation", "at": START, "state": "off"}]),
    ],
)  # fmt: skip
def test_check_fails_on_its_fault_with_an_example(shop, name, table, rows) -> None:
    tidy(shop)
    put(shop, table, rows)
    (result,) = [r for r in run_checks(Lake(shop.lake_dir), shop) if r.name == name]
    assert result.status == "FAIL"
    assert result.count > 0
    assert result.examples
    assert result.sentence.endswith(".")


def test_customers_without_a_row_are_counted_but_normal(shop) -> None:
    tidy(shop)
    put(shop, "events", [event(1, 1, event_id="x", customer_id="new")])
    (result,) = [r for r in run_checks(Lake(shop.lake_dir), shop) if r.name == "unknown_customers"]
    assert (result.status, result.count, result.examples) == ("PASS", 1, ("new",))


def test_a_member_price_up_to_the_price_is_no_fault_and_one_above_is_counted(shop) -> None:
    tidy(shop)
    rows = [{"product_id": f"q{n}", "price": price, "member_price": member} for n, (price, member) in enumerate(
        [(2.0, 2.0), (2.0, 1.0), (2.0, None), (None, 3.0), (2.0, 2.01), (5.0, 9.0)]
    )]  # fmt: skip
    put(shop, "products", rows)
    (result,) = [r for r in run_checks(Lake(shop.lake_dir), shop) if r.name == "catalogue"]
    assert (result.status, result.count, result.examples) == ("FAIL", 2, ("q4", "q5"))
    assert "2 with a member price above the price" in result.sentence
