"""The learned order of completions is taken only where it orders later lessons better than the rule does."""

import numpy as np
import pytest

from models.completion.order import by_rule, learn_order
from models.completion.signals import SIGNALS
from models.rank.ranker import RankerConfig, RankingRows

CONFIG = RankerConfig(n_leaves=7, min_rows_in_leaf=20, n_trees=60, least_questions=100)
SIZE = 12
N = 200


def lessons(n, signal, *, latest=None):
    """Questions whose wanted product has the most of one signal; the latest fifth those of another."""
    rng = np.random.default_rng(0)
    matrix = rng.random((n * SIZE, len(SIGNALS)), np.float32)
    wanted = np.zeros(n * SIZE, np.bool_)
    for number in range(n):
        column = SIGNALS.index(signal if latest is None or number < 0.8 * n else latest)
        wanted[number * SIZE + int(matrix[number * SIZE : (number + 1) * SIZE, column].argmax())] = True
    return RankingRows(matrix, wanted, np.full(n, SIZE, np.int64))


def test_an_order_that_foretells_better_than_the_rule_is_taken():
    told = lessons(N, "meaning")  # the rule does not look at it
    forests, note = learn_order(told, CONFIG, 0)
    assert forests.boosters
    assert f"latest {N // 5} of {N}" in note
    first = slice(0, SIZE)
    assert told.wanted[first][np.argmax(forests.ordered(told.matrix[first])[0])]


def test_an_order_that_holds_no_longer_is_left_out_and_that_is_said():
    forests, note = learn_order(lessons(N, "meaning", latest="walk"), CONFIG, 0)
    assert not forests.boosters
    assert "no better than the rule" in note


@pytest.mark.parametrize("n", [0, 99])
def test_too_few_lessons_are_not_learned_from(n):
    forests, note = learn_order(lessons(n, "meaning"), CONFIG, 0)
    assert not forests.boosters
    assert f"{n} lessons, fewer than 100" in note


def test_the_rule_prefers_what_was_bought_together():
    matrix = np.zeros((3, len(SIGNALS)), np.float32)
    matrix[1, SIGNALS.index("walk")] = 1.0
    assert int(np.argmax(by_rule(matrix))) == 1
