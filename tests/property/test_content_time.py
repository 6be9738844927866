"""Time never leaks: whatever happens at or after a question, its answer stays the same."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from models.contents.config import ContentConfig
from models.rank.ranker import RankerConfig
from tests.newsroom import DAYS, TASTES, newsroom, piece, pieces, readings, trained
from tests.worlds import ToyTables, day, events, rows_of
from training.batch import CustomerRow, recommend_batch

ASKED_AT = DAYS + 0.5
WHO = ("tea-fan-03", "nobody")
CUSTOMER = st.sampled_from([*WHO, "silk-fan-02", "somebody-new"])
CONTENT = st.sampled_from([f"{t}-{n:02d}" for t in TASTES for n in (3, DAYS - 1)] + ["later", "earlier"])
LATER = st.lists(
    st.tuples(
        CUSTOMER, CONTENT, st.sampled_from([0.0, 1e-9, 0.01, 3.0]), st.sampled_from(["view", "dislike", "share"])
    ),
    max_size=25,
)


@cache
def models():
    return trained(newsroom(), ContentConfig(ranker=RankerConfig(least_questions=10**6)))


def answers(later, published):
    what = [(who, f"content:{content}", ASKED_AT + after, kind) for who, content, after, kind in later]
    contents = [piece("earlier", DAYS + 0.2, valid_from=day(DAYS + 0.2))]
    contents += [piece("later", ASKED_AT + after, valid_from=day(ASKED_AT + after)) for after in published]
    lake = ToyTables({"events": events([*readings(), *what]), "contents": rows_of("contents", [*pieces(), *contents])})
    rows = [CustomerRow(who, at=day(ASKED_AT)) for who in WHO]
    return recommend_batch(models(), rows, "content", 8, workers=1, lake=lake).frame.rows()


@cache
def plain():
    return answers((), ())


@settings(max_examples=25, deadline=None)
@given(later=LATER, published=st.lists(st.sampled_from([0.0, 0.5]), max_size=1))
def test_what_comes_at_or_after_a_question_changes_nothing(later, published):
    assert answers(later, published) == plain()
