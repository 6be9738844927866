from pathlib import Path

import pytest

from features.lake import Lake
from features.watermarks import Watermark
from service.journal import id_key
from service.lives import FORMER, Lives, Source, renumbered

LIVES = Lives({"3": "B"}, {"3": {"A": "50-0", "B": "90-0"}})


def source(*releases, serving=None):
    return Source("s", Lake(Path("nowhere")), Path("nowhere"), releases, serving)


def mark(epoch, entry_id):
    return {"3": Watermark(epoch, entry_id)}


@pytest.mark.parametrize(
    ("marks", "span", "is_above"),
    [
        (mark("B", "70-0"), ("B", "60-0", "70-0"), False),
        (mark("B", "70-0"), ("B", "71-0", "80-0"), True),
        (mark("A", "50-0"), ("B", "60-0", "70-0"), True),
        (mark("B", "60-0"), ("A", "40-0", "50-0"), False),
        ({}, ("A", "40-0", "50-0"), True),
        (mark("never drained", "1-0"), ("A", "40-0", "50-0"), True),
    ],
)
def test_what_lies_above_a_watermark_by_life_and_id(marks, span, is_above):
    assert LIVES.is_above(marks, "3", span) is is_above


def test_rows_of_a_former_life_are_those_above_the_release_that_serves():
    old, new = mark("A", "20-0"), mark("A", "40-0")
    assert not LIVES.is_wanted(source(old, new, serving=new), "3", ("A", "21-0", "30-0"))
    assert LIVES.is_wanted(source(old, new, serving=old), "3", ("A", "21-0", "30-0"))
    assert LIVES.is_wanted(source(old, mark("B", "60-0")), "3", ("A", "21-0", "30-0"))
    assert not LIVES.is_wanted(source(mark("B", "60-0")), "3", ("A", "21-0", "30-0"))
    assert LIVES.is_wanted(source(), "3", ("A", "21-0", "30-0"))


def test_a_row_carries_the_end_of_its_range_or_stands_before_this_life():
    assert LIVES.id_of("3", ("B", "60-0", "70-0")) == "70-0"
    assert LIVES.id_of("3", ("A", "40-0", "50-0")) == FORMER


def test_new_ids_ascend_within_their_ranges_and_end_where_the_journal_ended():
    lost = [
        (("A", "5-0", "9-2"), b"a"), (("A", "5-0", "9-2"), b"b"), (("A", "10-1", "10-3"), b"c"),
        (("A", "5-0", "9-2"), b"of another kind"), (("A", "10-1", "10-3"), b"d"),
    ]  # fmt: skip
    made = list(renumbered(lost))
    assert [body for _, body in made] == [b"a", b"b", b"of another kind", b"c", b"d"]
    ids = [id_key(entry_id) for entry_id, _ in made]
    assert ids == sorted(set(ids))
    assert made[0][0] == "5-0"
    assert (5, 0) <= ids[2] <= (9, 2) < ids[3]
    assert made[-1][0] == "10-3"
