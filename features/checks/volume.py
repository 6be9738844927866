"""`volume`: days whose number of events jumps away from the weeks around them."""

from typing import Final

import numpy as np

from features.checks.daily import daily_counts
from features.checks.result import CheckResult, skipped
from features.dataset import Tables
from features.shop import Shop

NAME: Final = "volume"
LEAST_DAYS: Final = 28
WEEKDAYS: Final = 7
MAX_Z: Final = 6.0
MIN_SCALE: Final = 0.1  # a shop whose days are all alike must not fail over a tenth more


def check_volume(tables: Tables, shop: Shop) -> CheckResult:
    """FAIL when a day is more than 6 robust standard deviations (MAD × 1.4826, log scale) off its weekday's median.

    The median is of the same weekday in the 8 weeks around it, so growth and weekends are no alarm.
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
    examples = tuple(f"{days['day'][int(d)]}: {days['n'][int(d)]} events" for d in worst)
    sentence = (
        f"{len(strange):,} of {len(logs):,} days have far more or fewer events than the same weekday around them."
    )
    return CheckResult(NAME, "FAIL" if len(strange) else "PASS", len(strange), examples, sentence)
