"""The shop's days: where the night is, and that midnight stays where there is none."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from features.clock import HOUR_US, local_day_start, microseconds, quietest_hour, shop_day_start

DAY_US = 24 * HOUR_US
MONDAY = microseconds(datetime(2026, 3, 2, tzinfo=UTC))


def moments(hours, n=2400):
    """Purchases on a hundred days, one after the other at the given hours, UTC."""
    return np.array([MONDAY + (i % 100) * DAY_US + hours[i % len(hours)] * HOUR_US for i in range(n)], np.int64)


OPEN_LATE = [*range(10, 24), 0, 1]  # from ten in the morning to two at night


def test_the_day_turns_in_the_middle_of_the_night():
    assert quietest_hour(moments(OPEN_LATE), "UTC") == 4


def test_in_whatever_zone_times_are_told_the_day_turns_at_the_same_moment():
    hour = quietest_hour(moments(OPEN_LATE), "Asia/Shanghai")
    assert hour == (4 + 8) % 24
    at = MONDAY + 25 * HOUR_US + 123  # one at night: still the evening of Monday
    assert shop_day_start(at, "Asia/Shanghai", hour) == shop_day_start(at, "UTC", 4) == MONDAY + 4 * HOUR_US


@pytest.mark.parametrize(
    "at",
    [moments(OPEN_LATE, 900), moments([0]), moments([0, 0, 12, 13]), moments(list(range(24))), np.empty(0, np.int64)],
    ids=["too few", "days only", "mostly days only", "no night", "nothing"],
)
def test_midnight_stays_where_no_night_is_seen(at):
    assert quietest_hour(at, "UTC") == 0


@pytest.mark.parametrize("day_starts", [0, 4, 23])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "Europe/Berlin"])
def test_a_day_begins_before_its_moments_and_lasts_a_day(zone, day_starts):
    for at in range(MONDAY, MONDAY + 40 * DAY_US, 7 * HOUR_US + 1):  # over the change to summer time
        start = shop_day_start(at, zone, day_starts)
        assert start <= at < start + 25 * HOUR_US
        assert shop_day_start(start, zone, day_starts) == start
        local = datetime.fromtimestamp(start / 1e6, ZoneInfo(zone))
        assert local.minute == 0


def test_with_midnight_it_is_the_local_day():
    at = MONDAY + 17 * HOUR_US
    assert shop_day_start(at, "Asia/Shanghai", 0) == local_day_start(at, "Asia/Shanghai")
