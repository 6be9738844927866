"""The shop's clock: local days, and days as the shop lives them, out of UTC microseconds."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl

from features.arrays import Int64s

HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * HOUR_US
ENOUGH_TO_SEE_NIGHT: Final = 1000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=1024)
def is_timezone(name: str) -> bool:
    """Whether there is an IANA time zone of that name here."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def microseconds(moment: datetime) -> int:
    """Return an aware datetime as UTC microseconds, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def local_day_start(at: int, timezone: str) -> int:
    """Return the UTC µs at which the local day of `at` (UTC µs) began: the clock of the models."""
    local = (EPOCH + timedelta(microseconds=at)).astimezone(_zone(timezone))
    return microseconds(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))


def shop_day_start(at: int, timezone: str, day_starts: int) -> int:
    """Return the UTC µs at which the shop's day of `at` began: `day_starts` hours after the local midnight."""
    return local_day_start(at - day_starts * HOUR_US, timezone) + day_starts * HOUR_US


def days_before(at: Int64s, moment: int) -> Int64s:
    """Return how many of the shop's days lie between some moments (UTC µs) and the day that began at `moment`.

    0 is that day itself, 1 the day before, however few hours ago it was: the one way in which models and reasons count.
    """
    return np.maximum(-((at - moment) // _DAY_US), 0)


def hours_of_week(at: Int64s, timezone: str) -> Int64s:
    """Return the local hour of the week of some moments (UTC µs): int64 [n], 0 is Monday from 0 h, 167 Sunday 23 h."""
    local = pl.from_epoch(pl.Series(at, dtype=pl.Int64), time_unit="us").dt.replace_time_zone("UTC")
    local = local.dt.convert_time_zone(timezone)
    days, hours = local.dt.weekday().to_numpy().astype(np.int64), local.dt.hour().to_numpy().astype(np.int64)
    return (days - 1) * 24 + hours


def quietest_hour(at: Int64s, timezone: str) -> int:
    """Return the local hour at which the shop's day turns: the middle of the quietest four hours, 0 where none are.

    Midnight cuts the evening of a shop that is open late in two, and through the morning of one whose times are told in
    another zone than its own; either way visits of one day come to lie on two, and weekdays blur. Midnight it is for
    fewer than 1,000 moments, for times that know the day only (over a third in one hour), and for a shop that never
    sleeps (the quietest hours have over half of their even share).
    """
    if len(at) < ENOUGH_TO_SEE_NIGHT:
        return 0
    moments = pl.from_epoch(pl.Series(at), time_unit="us").dt.replace_time_zone("UTC")
    count = np.bincount(moments.dt.convert_time_zone(timezone).dt.hour().to_numpy(), minlength=24)
    around = np.sum([np.roll(count, shift) for shift in (2, 1, 0, -1)], axis=0)
    quietest = int(np.argmin(around))
    is_night = around[quietest] <= len(at) / 12 and count.max() <= len(at) / 3
    return quietest if is_night else 0
