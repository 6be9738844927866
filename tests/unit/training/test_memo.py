"""What is remembered between fits, and how much of it."""

from training.memo import Memo


def test_the_same_key_is_made_once():
    memo = Memo(keep=2)
    assert [memo.once("als", key, lambda key=key: [key]) for key in ("a", "a", "b")] == [["a"], ["a"], ["b"]]
    assert memo.made == ["als", "als"]


def test_each_part_keeps_the_last_asked_for():
    memo = Memo(keep=2)
    for key in ("best", "tried", "best", "next", "best"):
        memo.once("als", key, object)
    assert len(memo.made) == 3
    memo.once("als", "tried", object)
    assert len(memo.made) == 4


def test_parts_do_not_push_each_other_out():
    memo = Memo(keep=1)
    first = memo.once("als", 1, object)
    memo.once("itemknn", 1, object)
    assert memo.once("als", 1, object) is first


def test_a_memo_that_keeps_nothing_makes_everything_anew():
    memo = Memo()
    assert memo.once("als", 1, object) is not memo.once("als", 1, object)
