"""Figures of the audience and coupon benchmarks are arithmetic."""

from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.quality.audience import area, precisions
from benchmarks.quality.coupons import Part, areas
from models.audience.traits import TRAITS


def test_area_is_the_share_of_pairs_in_the_right_order():
    assert area([3, 2, 1, 0], np.array([True, False, True, False])) == pytest.approx(3 / 4)
    assert area([1, 1], np.array([True, False])) == 0.5
    assert area([1, 2], np.array([False, False])) == 0.5


def test_precision_counts_buyers_at_the_head_and_new_ones_apart():
    order = [f"c{n}" for n in range(400)]
    figures = precisions(order, truth={f"c{n}" for n in range(30)}, lately={f"c{n}" for n in range(20)})
    assert figures["precision@20"] == 1.0
    assert figures["precision@50"] == pytest.approx(30 / 50)
    assert figures["new_precision@50"] == pytest.approx(10 / 50)
    assert figures["auc@all"] == 1.0


def test_campaigns_weigh_by_their_redeemers_and_a_repeated_household_counts_twice():
    def part(redeemed):
        n = len(redeemed)
        traits, nothing = np.zeros((n, len(TRAITS)), np.float32), np.zeros((n, 2), np.float32)
        names = tuple(f"h{i}" for i in range(n))
        return Part(datetime(2017, 3, 1, tzinfo=UTC), names, np.array(redeemed), traits, np.zeros(n), nothing)

    parts = [part([True, False]), part([True, True, False])]
    scores = [np.array([1.0, 0.0]), np.array([0.0, 2.0, 1.0])]
    assert areas(parts, scores)["auc@campaign"] == pytest.approx((1 * 1.0 + 2 * 0.5) / 3)
    twice = areas(parts, scores, [np.array([1.0, 1.0]), np.array([2.0, 1.0, 1.0])])
    assert twice["auc@campaign"] == pytest.approx((1 * 1.0 + 3 / 3) / 4)
