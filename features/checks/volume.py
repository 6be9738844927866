"""`volume`: days whose number of events jumps away from the weeks around them."""

from typing import Final

import numpy as np

from features.checks.daily import daily_counts
from features.checks.result import CheckResult, skipped, verdict
from features.contracts import Tables
from features.shop import Shop

NAME: Final = "volume"
LEAST_DAYS: Final = 28
WEEKDAYS: Final = 7
ALLOWED: Final = 0.02  # Christmas and New Year stand apart in an honest year
MAX_Z: Final = 6.0
MIN_SCALE: Final = 0.1  # a shop whose days are all alike must not fail over a tenth more


def check_volume(tables: Tables, shop: Shop) -> CheckResult:
    """FAIL when more than 2 % of the days are over 6 robust standard deviations off their weekday's median.

    Log scale, MAD × 1.4826; the median is of the same weekday in the 8 weeks around: growth and weekends are no alarm.
    """
    days = daily_counts(tables, shop.timezone)
    if days.height < LEAST_DAYS:
        return skipped(NAME, f"There are fewer than {LEAST_DAYS} days of events.")
    logs = np.log1p(days["n"].to_numpy().astype(np.float64))
    off = np.empty(len(logs))
    for day in range(len(logs)):
        around = np.arange(day % WEEKDAYS, len(logs), WEEKDAYS)
        near = around[np.abs(around - day) <= 4 * WEEKDAYS]
        off[day] = logs[day] - np.median(logs[near])
    scale = max(1.4826 * float(np.median(np.abs(off - np.median(off)))), MIN_SCALE)
    strange = np.flatnonzero(np.abs(off) / scale > MAX_Z)
    worst = strange[np.argsort(-np.abs(off[strange]), kind="stable")][:5]
    examples = [f"{days['day'][int(d)]}: {days['n'][int(d)]} events" for d in worst]
    what = "days have far more or fewer events than the same weekday around them"
    return verdict(NAME, (len(strange), len(logs)), ALLOWED, what, examples)
