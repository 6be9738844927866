"""What a check found."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import polars as pl

from features import columns as c

Status: TypeAlias = Literal["PASS", "FAIL", "SKIP"]
N_EXAMPLES: Final = 5


@dataclass(frozen=True)
class CheckResult:
    """One check's answer.

    Attributes
    ----------
    count : int
        Rows, days or ids that look wrong (also below the share at which the check fails).
    examples : tuple of str
        A few of them.
    sentence : str
        What was found, for people.
    """

    name: str
    status: Status
    count: int
    examples: tuple[str, ...]
    sentence: str


def skipped(name: str, why: str) -> CheckResult:
    """Nothing to check."""
    return CheckResult(name, "SKIP", 0, (), why)


def verdict(name: str, found: tuple[int, int], allowed: float, what: str, examples: list[str]) -> CheckResult:
    """FAIL when more than the share `allowed` of (count, total) looks wrong."""
    count, total = found
    share = count / total if total else 0.0
    sentence = f"{count:,} of {total:,} {what} ({share:.2%}; at most {allowed:.0%} pass)."
    return CheckResult(name, "FAIL" if share > allowed else "PASS", count, tuple(examples[:N_EXAMPLES]), sentence)


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """Collect with bounded memory."""
    return frame.collect(engine="streaming")


def local_day(timezone: str) -> pl.Expr:
    """The shop's local day of an event, as a date."""
    moment = pl.from_epoch(pl.col(c.AT), time_unit="us").dt.replace_time_zone("UTC")
    return moment.dt.convert_time_zone(timezone).dt.date()
