"""Moments: what a file calls a time becomes UTC microseconds.

Read are ISO 8601 (`2024-05-01`, `2024-05-01T09:30`, `2024-05-01 09:30:15.250+08:00`, `…Z`), dates and datetimes of
Parquet, and numbers since 1970 in seconds, milliseconds or microseconds, one unit a file. A time without an offset is
read in the shop's zone; where clocks go back it means the first of the two moments, and where they jump it is read
with the offset that held before the jump. What lies outside 1990–2100 is rejected.
"""

from typing import Final

import polars as pl

from features.errors import ContractError

LEAST: Final = 631_152_000_000_000  # 1990-01-01
MOST: Final = 4_102_444_800_000_000  # 2100-01-01
_US: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NUMBER: Final = r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$"
_ISO: Final = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<h>\d{2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r" ?(?P<zone>[Zz]|(?P<sign>[+-])(?P<oh>\d{2}):?(?P<om>\d{2})?)?)?$"
)
_DAY_US: Final = 86_400_000_000
NOT_A_TIME: Final = "is not a time"
OUT_OF_RANGE: Final = "is an impossible time (not between 1990 and 2100)"


class TimeReader:
    """Reads the time columns of one file; remembers the unit its numbers are in."""

    def __init__(self, timezone: str, unit: str = "") -> None:
        self.timezone = timezone
        self.unit = unit
        self.stated = bool(unit)
        self.saw_naive = False

    def read(self, table: str, name: str, cells: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Return (moments Int64, reasons String or null), one for each cell."""
        kind = cells.dtype
        none = pl.Series([None] * len(cells), dtype=pl.String)
        if kind == pl.Null:
            return pl.Series([None] * len(cells), dtype=pl.Int64), none
        if kind == pl.String:
            return self._texts(cells)
        if kind.is_numeric():
            return self._numbers(cells.cast(pl.Float64), cells if kind.is_integer() else None)
        if kind == pl.Date:
            return _in_range(cells, self._local(cells.cast(pl.Datetime("us"))))
        if isinstance(kind, pl.Datetime):
            micros = cells.dt.cast_time_unit("us")
            if kind.time_zone is None:
                return _in_range(cells, self._local(micros))
            return _in_range(cells, micros.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Int64))
        raise ContractError(table, name, f"holds {kind}, not times; export it as text, a number or a datetime.")

    def _texts(self, cells: pl.Series) -> tuple[pl.Series, pl.Series]:
        cells = cells.str.strip_chars()
        cells = cells.set(cells == "", None)
        is_number = cells.str.contains(_NUMBER).fill_null(value=False)
        moments, reasons = self._iso(cells.set(is_number, None) if is_number.any() else cells)
        if is_number.any():
            numbers = cells.set(~is_number, None)
            other, why = self._numbers(numbers.cast(pl.Float64, strict=False), numbers.cast(pl.Int64, strict=False))
            moments, reasons = moments.zip_with(~is_number, other), reasons.zip_with(~is_number, why)
        return moments, reasons

    def _numbers(self, floats: pl.Series, whole: pl.Series | None) -> tuple[pl.Series, pl.Series]:
        floats = floats.fill_nan(None)
        frame = pl.DataFrame(
            {
                "x": floats,
                "w": floats.cast(pl.Int64, strict=False) if whole is None else whole.cast(pl.Int64, strict=False),
            }
        )
        fits = {unit: (pl.col("x") * us >= LEAST) & (pl.col("x") * us < MOST) for unit, us in _US.items()}
        if not self.unit:
            counts = frame.select(**{unit: fit.sum() for unit, fit in fits.items()}).row(0, named=True)
            best = max(counts, key=lambda unit: counts[unit])
            self.unit = best if counts[best] else ""
        unit = self.unit or "s"
        exact = pl.when(pl.col("w") == pl.col("x")).then(pl.col("w") * _US[unit])
        value = exact.otherwise((pl.col("x") * _US[unit]).round().cast(pl.Int64, strict=False))
        mixed = pl.any_horizontal(*(fit for other, fit in fits.items() if other != unit))
        reason = (
            pl.when(pl.col("x").is_null() | fits[unit]).then(None)
            .when(mixed).then(pl.lit(f"is in another unit than the file's other times ({unit}): mixed time units"))
            .otherwise(pl.lit(OUT_OF_RANGE))
        )  # fmt: skip
        out = frame.select(reason=reason.cast(pl.String), value=pl.when(fits[unit]).then(value))
        return out["value"], out["reason"]

    def _iso(self, cells: pl.Series) -> tuple[pl.Series, pl.Series]:
        parts = cells.to_frame("t").select(pl.col("t").str.extract_groups(_ISO)).unnest("t")
        number = {n: pl.col(n).cast(pl.Int64).fill_null(0) for n in ("h", "m", "s", "oh", "om")}
        is_real = (
            (number["h"] < 24) & (number["m"] < 60) & (number["s"] < 60) & (number["oh"] < 15) & (number["om"] < 60)
        )
        days = pl.col("date").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int64)
        seconds = days * 86_400 + number["h"] * 3_600 + number["m"] * 60 + number["s"]
        fraction = pl.col("f").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
        offset = (number["oh"] * 3_600 + number["om"] * 60) * pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
        has_zone = pl.col("zone").is_not_null()
        wall = pl.when(is_real).then(seconds * 1_000_000 + fraction)
        out = parts.select(wall=wall, utc=pl.when(has_zone).then(wall - offset * 1_000_000), naive=~has_zone)
        moments = out["utc"]
        if out["naive"].any():
            local = self._local(out["wall"].set(~out["naive"], None).cast(pl.Datetime("us")))
            moments = local.zip_with(out["naive"], moments)
        return _in_range(cells, moments, NOT_A_TIME)

    def _local(self, wall: pl.Series) -> pl.Series:
        """Naive wall-clock times in the shop's zone → UTC µs."""
        self.saw_naive = self.saw_naive or wall.null_count() < len(wall)
        there = wall.dt.replace_time_zone(self.timezone, ambiguous="earliest", non_existent="null").cast(pl.Int64)
        if there.null_count() > wall.null_count():
            day_before = (wall.cast(pl.Int64) - _DAY_US).cast(pl.Datetime("us"))
            earlier = day_before.dt.replace_time_zone(self.timezone, ambiguous="earliest", non_existent="null")
            there = there.zip_with(there.is_not_null(), earlier.cast(pl.Int64) + _DAY_US)
        return there


def _in_range(cells: pl.Series, moments: pl.Series, otherwise: str = OUT_OF_RANGE) -> tuple[pl.Series, pl.Series]:
    frame = pl.DataFrame({"cell": cells, "at": moments})
    inside = pl.col("at").is_between(LEAST, MOST, closed="left")
    reason = (
        pl.when(pl.col("cell").is_null() | inside).then(None).when(pl.col("at").is_null()).then(pl.lit(otherwise))
        .otherwise(pl.lit(OUT_OF_RANGE))
    )  # fmt: skip
    out = frame.select(at=pl.when(inside).then("at"), reason=reason.cast(pl.String))
    return out["at"], out["reason"]
