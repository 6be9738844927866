"""Moments on the command line: ISO 8601 (without an offset: the shop's clock) or epoch s, ms, µs."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from features.clock import microseconds
from features.errors import UsageError

# Seconds reach 10^11 in the year 5138, milliseconds of 1990 begin at 6·10^11: the units cannot be confused.
SECONDS_BELOW: Final = 10**11
MILLISECONDS_BELOW: Final = 10**14


def read_moment(text: str, timezone: str) -> int:
    """Return UTC µs."""
    if text.strip().lstrip("-").isdigit():
        number = int(text)
        unit = 1_000_000 if abs(number) < SECONDS_BELOW else 1_000 if abs(number) < MILLISECONDS_BELOW else 1
        return number * unit
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"'{text}' is not a moment; write 2025-03-01, 2025-03-01T09:30:00+08:00 or epoch seconds."
        ) from error
    return microseconds(moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone)))
