import numpy as np

from features.columns import EventKind
from features.history import DAY_US, EMPTY, History
from models.fatigue import FatigueConfig, resting

NOW = 100 * DAY_US


def history(*rows):
    item, days_ago, kind = zip(*rows, strict=True)
    n = len(rows)
    return History(
        np.array(item, np.int32), np.array([NOW - int(d * DAY_US) for d in days_ago], np.int64),
        np.array(kind, np.uint8), np.ones(n, np.float32), np.full(n, np.nan, np.float32), np.full(n, -1, np.int32),
    )  # fmt: skip


SEEN, CLICK = EventKind.impression, EventKind.click
THRICE = FatigueConfig(shown=3, days=7)


def test_what_was_shown_thrice_without_a_click_rests():
    shown = history((4, 3, SEEN), (4, 2, SEEN), (9, 2, SEEN), (4, 1, SEEN))
    assert list(resting(THRICE, EMPTY, shown, NOW)) == [4]
    assert not len(resting(FatigueConfig(shown=4, days=7), EMPTY, shown, NOW))
    assert not len(resting(FatigueConfig(shown=0), EMPTY, shown, NOW))


def test_rest_ends_by_itself_when_the_exposures_are_old_enough():
    shown = history((4, 6.9, SEEN), (4, 2, SEEN), (4, 1, SEEN))
    assert list(resting(THRICE, EMPTY, shown, NOW)) == [4]
    assert not len(resting(THRICE, EMPTY, shown, NOW + DAY_US))


def test_a_click_lets_the_counting_begin_anew():
    shown = history((4, 5, SEEN), (4, 4, SEEN), (4, 1, SEEN))
    assert not len(resting(THRICE, history((4, 3, CLICK)), shown, NOW))
    assert list(resting(THRICE, history((5, 3, CLICK)), shown, NOW)) == [4]
    assert list(resting(THRICE, history((4, 6, CLICK)), shown, NOW)) == [4]


def test_impressions_of_the_release_and_those_since_count_together():
    before = history((4, 5, SEEN), (4, 4, SEEN))
    assert list(resting(THRICE, before, history((4, 1, SEEN)), NOW)) == [4]
    assert not len(resting(THRICE, before, EMPTY, NOW))


def test_items_that_the_release_does_not_know_and_what_lies_ahead_do_not_count():
    shown = history((-1, 3, SEEN), (-1, 2, SEEN), (-1, 1, SEEN), (4, -1, SEEN), (4, -2, SEEN), (4, -3, SEEN))
    assert not len(resting(THRICE, EMPTY, shown, NOW))
