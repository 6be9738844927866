"""A shop of contents alone, from files to lists, by the commands that its people type."""

import json
from pathlib import Path

import polars as pl
import pytest

from features.shop import create_shop
from pond.cli.main import main
from tests import worlds
from tests.newsroom import DAYS, HOUR, pieces, readings
from tests.worlds import day

# MLflow 3.17 asks SQLAlchemy 2.1 for options that it deprecates; both are pinned.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
ASKED = [("q1", "tea-fan-03", DAYS - 1 + 0.3), ("q2", "nobody", DAYS - 1 + 0.9), ("q3", "silk-fan-00", DAYS - 2.0)]


@pytest.fixture
def home(tmp_path):
    create_shop(tmp_path / "home", "news", worlds.TIMEZONE)
    worlds.events(readings()).drop("event_id").write_parquet(tmp_path / "events.parquet")
    pl.DataFrame(pieces()).select("content_id", "title", "published_at").write_parquet(tmp_path / "contents.parquet")
    rows = [f"{query},{who},{day(at)}" for query, who, at in ASKED]
    (tmp_path / "who.csv").write_text("\n".join(["query_id,customer_id,at", *rows]))
    return tmp_path / "home"


def pond(home: Path, *words: str) -> int:
    return main(["--home", str(home), "--quiet", words[0], "--shop", "news", *words[1:]])


def test_a_shop_without_products_is_trained_on_its_readings_and_answers(home, capsys):
    files = home.parent
    assert pond(home, "ingest", "--events", str(files / "events.parquet"),
                "--contents", str(files / "contents.parquet")) == 0  # fmt: skip
    capsys.readouterr()
    assert pond(home, "train", "--as-of", str(day(DAYS - 1)), "--set", "training.tracking=false") == 0
    said = capsys.readouterr().out
    assert "order of contents: hit rate of ten on the latest" in said
    assert "nothing could be judged" in said
    [kept] = (home / "shops" / "news" / "runs").glob("*/embeddings/contents.parquet")
    assert pl.read_parquet(kept)["content_id"].len() == 2 * DAYS
    out = files / "out.parquet"
    assert pond(home, "content", "--k", "4", "--customers", str(files / "who.csv"), "--out", str(out)) == 0
    found = pl.read_parquet(out)
    assert found.columns == [
        "query_id", "customer_id", "rank", "item_kind", "item_id", "score", "stage", "reason_code", "reason_zh",
        "reason_en",
    ]  # fmt: skip
    assert found["item_kind"].unique().to_list() == ["content"]
    lists = {query: part["item_id"].to_list() for (query,), part in found.group_by("query_id", maintain_order=True)}
    assert list(lists) == ["q1", "q2", "q3"]
    assert all(len(one) == 4 for one in lists.values())
    # Nobody sees what is not out yet, or what he has read.
    for query, who, at in ASKED:
        read = {item.removeprefix("content:") for name, item, when, _ in readings() if name == who and when < at}
        assert not read & set(lists[query])
        assert all(int(name[-2:]) + 8 * HOUR < at for name in lists[query])
    assert set(lists["q2"][:2]) == {f"tea-{DAYS - 1}", f"silk-{DAYS - 1}"}


def test_the_batch_form_of_recommend_gives_the_same(home):
    files = home.parent
    pond(home, "ingest", "--events", str(files / "events.parquet"), "--contents", str(files / "contents.parquet"))
    assert pond(home, "train", "--as-of", str(day(DAYS - 1)), "--set", "training.tracking=false") == 0
    who = ("--k", "3", "--customers", str(files / "who.csv"))
    assert pond(home, "content", *who, "--out", str(files / "a.jsonl")) == 0
    assert pond(home, "recommend", "--scene", "content", *who, "--out", str(files / "b.jsonl")) == 0
    assert (files / "a.jsonl").read_text() == (files / "b.jsonl").read_text()
    assert json.loads((files / "a.jsonl").read_text().splitlines()[0])["item_kind"] == "content"
