"""The shop's clock: local days out of UTC microseconds."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def microseconds(moment: datetime) -> int:
    """Return an aware datetime as UTC microseconds, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def local_day_start(at: int, timezone: str) -> int:
    """Return the UTC µs at which the local day of `at` (UTC µs) began: the clock of the models."""
    local = (EPOCH + timedelta(microseconds=at)).astimezone(_zone(timezone))
    return microseconds(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))
