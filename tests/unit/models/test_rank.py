import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.query import NOTHING, Candidates
from models.rank.blend import blend_by_rank
from models.rank.diversity import diversified
from models.rank.explore import draw_plackett_luce


def found(*item_idx):
    return Candidates(np.array(item_idx, np.int32), np.arange(len(item_idx), 0, -1, dtype=np.float32))


def test_blend_adds_weight_over_offset_plus_rank():
    blend = blend_by_rank({"a": found(7, 3), "b": found(3)}, {"a": 1.0, "b": 0.5, "unused": 9.0}, 10.0)
    assert list(blend.item_idx) == [3, 7]
    assert blend.score == pytest.approx([1 / 12 + 0.5 / 11, 1 / 11])
    assert blend.names == ("a", "b")
    assert blend.contribution[:, 0] == pytest.approx([1 / 12, 0.5 / 11])


def test_blend_of_nothing_is_empty():
    assert len(blend_by_rank({}, {}, 1.0).item_idx) == 0
    assert len(blend_by_rank({"a": NOTHING}, {"a": 1.0}, 1.0).item_idx) == 0


def test_without_decay_the_order_stays():
    assert list(diversified(np.array([3, 2, 1], np.float32), [(np.zeros(3, np.int32), 1.0)], 2)) == [0, 1]


def test_decay_lets_another_category_pass():
    score, category = np.array([10, 9, 8], np.float32), np.array([0, 0, 1], np.int32)
    assert list(diversified(score, [(category, 0.5)], 3)) == [0, 2, 1]


def test_items_of_unknown_category_are_unlike_everything():
    score, category = np.array([10, 9, 8], np.float32), np.array([-1, -1, 0], np.int32)
    assert list(diversified(score, [(category, 0.1)], 3)) == [0, 1, 2]


def test_categories_and_brands_count_together():
    score = np.array([10, 9, 8, 7], np.float32)
    category, brand = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32)
    # After the first: 9 · .5 by its category, 8 · .5 by its brand, 7 by neither.
    assert list(diversified(score, [(category, 0.5), (brand, 0.5)], 2)) == [0, 3]


def test_with_a_window_only_the_last_picks_count():
    score, category = np.array([10, 9.9, 9.8, 5], np.float32), np.array([0, 1, 1, 0], np.int32)
    assert list(diversified(score, [(category, 0.5)], 4)) == [0, 1, 2, 3]
    # A window of one: at the third place the first pick is forgotten, and 5 stands against 9.8 / 2.
    assert list(diversified(score, [(category, 0.5)], 4, window=1)) == [0, 1, 3, 2]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.integers(1, 25), st.floats(0.1, 1))
def test_diversity_chooses_distinct_positions(scores, k, decay):
    ordered = np.sort(np.array(scores, np.float32))[::-1]
    chosen = diversified(ordered, [((np.arange(len(scores)) % 3).astype(np.int32), decay)], k)
    assert len(set(chosen.tolist())) == len(chosen) == min(k, len(scores))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=10), st.integers(1, 12), st.integers(0, 9))
def test_drawn_places_are_distinct_and_their_probabilities_lie_in_0_to_1(scores, m, seed):
    drawn = draw_plackett_luce(np.array(scores, np.float32), m, np.random.default_rng(seed))
    assert len(set(drawn.chosen.tolist())) == len(drawn.chosen) == min(m, len(scores))
    assert np.all((drawn.propensity > 0) & (drawn.propensity <= 1 + 1e-12))


def test_frequencies_of_whole_draws_match_the_logged_probability():
    weights, n = np.array([4, 2, 1, 1], np.float32), 20_000
    counts: dict[tuple[int, ...], int] = {}
    logged: dict[tuple[int, ...], float] = {}
    rng = np.random.default_rng(0)
    for _ in range(n):
        drawn = draw_plackett_luce(weights, 2, rng)
        key = tuple(drawn.chosen.tolist())
        counts[key] = counts.get(key, 0) + 1
        logged[key] = float(np.prod(drawn.propensity))
    assert sum(logged.values()) == pytest.approx(1.0)
    for key, share in logged.items():
        # Five standard deviations over 12 outcomes: false alarm below 1e-5; the seed is fixed.
        assert abs(counts[key] / n - share) < 5 * (share * (1 - share) / n) ** 0.5
