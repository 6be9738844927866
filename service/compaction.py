"""Compaction: many small drains leave many small parts; they are merged, and swept when nobody can be reading them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.lake import Lake, Part
from features.lineage import coalesced, lineage, of_parts, states
from features.watermarks import Watermark

MOST_PARTS: Final = 64  # a table with more small parts than this is merged
TRAINING_MS: Final = 3_600_000  # a training that runs now began no longer ago: its watermark is still told apart


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many parts were merged away, and how many files removed."""

    merged: int
    swept: int


def tidied(
    lake: Lake, tables: Iterable[str], releases: Sequence[Mapping[str, Watermark]], most_parts: int = MOST_PARTS
) -> Tidied:
    """Merge the small parts of every table that has many and remove what nobody can need any more.

    What a live tail is made again from, row by row (features/lineage.py), is kept through the merge.
    """
    merged = swept = 0
    for table in tables:
        if len(lake.parts(table)) > most_parts:
            merged += _compacted(lake, table, releases)
        swept += len(lake.sweep(table))
    return Tidied(merged, swept)


def _compacted(lake: Lake, table: str, releases: Sequence[Mapping[str, Watermark]]) -> int:
    before_ms = time.time_ns() // 1_000_000 - TRAINING_MS

    def describe(made: Mapping[str, tuple[Part, ...]]) -> Mapping[str, Any]:
        known = lineage(lake.since_base(table))
        return states({name: coalesced(of_parts(group, known), releases, before_ms) for name, group in made.items()})

    commit = lake.compact(table, describe)
    return len(commit.removed) if commit else 0
