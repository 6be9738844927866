"""Bundles for customers and baskets completed, from files to lists, by the commands that people type."""

from pathlib import Path

import polars as pl
import pytest

from features.shop import create_shop
from pond.cli.main import main
from tests import worlds
from tests.unit.models.bundles.test_affinity import TASTES
from tests.unit.models.bundles.test_affinity import shop_rows as bundle_rows
from tests.unit.models.completion.test_completion import long_tail_rows

# MLflow 3.17 asks SQLAlchemy 2.1 for options that it deprecates; both are pinned.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def pond(home: Path, *words: str) -> int:
    return main(["--home", str(home), "--quiet", words[0], "--shop", "shop", *words[1:]])


def trained(folder: Path, events: pl.DataFrame, **tables: pl.DataFrame) -> Path:
    """Write the files, take them in and train; the home of the shop."""
    home = folder / "home"
    create_shop(home, "shop", worlds.TIMEZONE)
    words: list[str] = []
    for name, frame in {"events": events.drop("event_id"), **tables}.items():
        frame.write_parquet(folder / f"{name}.parquet")
        words += [f"--{name}", str(folder / f"{name}.parquet")]
    assert pond(home, "ingest", *words) == 0
    assert pond(home, "train", "--set", "training.tracking=false") == 0
    return home


def lists(home: Path, scene: str, who: Path, k: int) -> dict[str, list[str]]:
    out = home.parent / f"{scene}.parquet"
    assert pond(home, "recommend", "--scene", scene, "--customers", str(who), "--k", str(k), "--out", str(out)) == 0
    found = pl.read_parquet(out)
    key = "query_id" if "query_id" in found.columns else "customer_id"
    return {name: part["item_id"].to_list() for (name,), part in found.group_by(key, maintain_order=True)}


def test_bundles_for_customers_in_data_without_an_order_in_time(tmp_path):
    """All events stand at one moment: nobody knows what was bought just now, and everybody gets full lists of his."""
    rows, products, bundles = bundle_rows(n_each=40)
    at_once = [(who, item, 30) for who, item, _ in rows]
    frames = {"products": pl.DataFrame(products), "bundles": pl.DataFrame(bundles)}
    home = trained(tmp_path, worlds.events(at_once), **frames)
    who = tmp_path / "who.csv"
    who.write_text(
        "\n".join(["customer_id,at", *(f"{taste}-{n},{worlds.day(30)}" for taste in TASTES for n in range(5))])
    )
    found = lists(home, "bundles", who, 4)
    assert len(found) == 10
    for name, shown in found.items():
        had = {item.removeprefix("bundle:") for customer, item, _ in at_once if customer == name}
        assert len(shown) == 4
        assert all(bundle.startswith(name.partition("-")[0]) for bundle in shown)
        assert not had & set(shown)


def test_a_basket_is_completed_by_what_names_its_product(tmp_path):
    rows, products, bundles = long_tail_rows(200)
    home = trained(tmp_path, worlds.events(rows), products=pl.DataFrame(products), bundles=pl.DataFrame(bundles))
    who = tmp_path / "who.parquet"
    asked = [{"query_id": f"q{n}", "customer_id": "nobody", "basket": [f"main{n}"]} for n in range(195, 200)]
    pl.DataFrame(asked).write_parquet(who)
    found = lists(home, "cart", who, 3)
    assert {query: shown[0] for query, shown in found.items()} == {f"q{n}": f"acc{n}" for n in range(195, 200)}
    reasons = pl.read_parquet(tmp_path / "cart.parquet").filter(pl.col("rank") == 1)
    assert reasons["reason_code"].unique().to_list() == ["goes_with"]
    assert all("body" in text for text in reasons["reason_en"])
    assert reasons["stage"].unique().to_list() == ["completion"]
