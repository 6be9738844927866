"""Contents in batch: each row from what anybody had read before its moment, and from nothing later."""

import polars as pl
import pytest

from models.contents.config import ContentConfig
from models.contents.model import ContentModel
from models.rank.ranker import RankerConfig
from tests.newsroom import DAYS, HOUR, newsroom, piece, pieces, readings, trained
from tests.worlds import ToyTables, day, events, rows_of
from training.batch import CustomerRow, recommend_batch

RULE = ContentConfig(ranker=RankerConfig(least_questions=10**6))


@pytest.fixture(scope="module")
def models():
    return trained(newsroom(), RULE)


def lake(what=(), contents=(), **tables):
    frames = {
        "events": events([*readings(), *what]), "contents": rows_of("contents", [*pieces(), *contents]),
    } | {name: rows_of(name, rows) for name, rows in tables.items()}  # fmt: skip
    return ToyTables(frames)


def shown(models, at, customer="nobody", k=3, **tables):
    frame = recommend_batch(
        models, [CustomerRow(customer, at=day(at))], "content", k, workers=1, lake=lake(**tables)
    ).frame
    assert set(frame["item_kind"]) <= {"content"}
    return frame["item_id"].to_list()


def crowd(content, at, n=200):
    return [(f"someone-{who}", f"content:{content}", at, "view") for who in range(n)]


def test_what_others_read_since_the_release_lifts_a_content(models):
    at = DAYS + 0.5
    assert "tea-07" not in shown(models, at)
    assert shown(models, at, what=crowd("tea-07", at - HOUR), k=1) == ["tea-07"]


def test_readings_at_the_moment_of_the_question_and_later_change_nothing(models):
    at = DAYS + 0.5
    assert shown(models, at, k=20, what=crowd("tea-07", at)) == shown(models, at, k=20)


def test_a_content_published_after_the_release_is_shown_until_it_is_read(models):
    told = {"contents": [piece("fresh", DAYS + 0.1, valid_from=day(DAYS + 0.1))]}
    read = [("nobody", "content:fresh", DAYS + 0.3, "view")]
    assert "fresh" not in shown(models, DAYS + 0.05, **told)
    assert "fresh" in shown(models, DAYS + 0.2, **told)
    assert "fresh" in shown(models, DAYS + 0.25, k=100, what=read, **told)
    assert "fresh" not in shown(models, DAYS + 0.4, k=100, what=read, **told)


def test_taste_of_live_readers_reaches_a_content_published_after_the_release(models):
    at = DAYS + 0.5
    told = {"contents": [piece(f"{t}-live", DAYS + 0.1, valid_from=day(DAYS + 0.1)) for t in ("tea", "silk")]}
    what = [
        (f"{t}-fan-{who:02d}", f"content:{t}-live", at - HOUR, "view") for t in ("tea", "silk") for who in range(5, 9)
    ]
    for taste, other in (("tea", "silk"), ("silk", "tea")):
        found = shown(models, at, f"{taste}-fan-03", what=what, k=100, **told)
        assert found.index(f"{taste}-live") < found.index(f"{other}-live")


def test_a_question_about_the_past_of_the_release_sees_that_past_alone(models):
    at = DAYS - 5.0
    then = trained(newsroom(as_of=at), RULE)
    mine, his = (
        recommend_batch(m, [CustomerRow("nobody", at=day(at))], "content", 10, workers=1) for m in (models, then)
    )
    assert mine.frame["item_id"].to_list() == his.frame["item_id"].to_list()
    assert max(int(name[-2:]) for name in mine.frame["item_id"]) < at


def test_the_order_of_the_rows_does_not_matter(models):
    moments = [DAYS + 0.9, DAYS + 0.1, DAYS - 3.0, DAYS + 0.5]
    rows = [CustomerRow("nobody", f"q{n}", day(at)) for n, at in enumerate(moments)]
    tables = lake(what=crowd("tea-07", DAYS + 0.3))
    one, two = (
        recommend_batch(models, asked, "content", 5, workers=1, lake=tables).frame for asked in (rows, rows[::-1])
    )
    assert one["query_id"].unique(maintain_order=True).to_list() == ["q0", "q1", "q2", "q3"]
    assert one.sort("query_id", "rank").equals(two.sort("query_id", "rank"))
    alone = [recommend_batch(models, [row], "content", 5, workers=1, lake=tables).frame for row in rows]
    for column in ("item_id", "stage"):
        assert pl.concat(alone)[column].to_list() == one[column].to_list()


def test_who_refused_personalization_is_answered_as_a_stranger(models):
    off = [{"customer_id": "tea-fan-03", "purpose": "personalization", "at": day(DAYS + 0.1), "state": "off"}]
    at = DAYS + 0.5
    assert shown(models, at, "tea-fan-03", consents=off, k=10) == shown(models, at, "nobody", k=10)


def test_the_part_a_release_holds_is_left_as_it_was(models):
    before = models.part(ContentModel).pulse.lately.copy()
    shown(models, DAYS + 0.5, what=crowd("tea-07", DAYS + 0.2))
    assert (models.part(ContentModel).pulse.lately == before).all()
