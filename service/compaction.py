"""Compaction: many small drains leave many small parts and a long log (docs/adr/0016).

Parts are merged, the log is cut, and what nobody can be reading any more is swept.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.commits import Commit, Part, visible
from features.lake import SWEEP_AFTER_S, Lake
from features.lineage import coalesced, lineage, of_parts, states
from features.watermarks import Watermark

MOST_PARTS: Final = 64  # a table with more small parts than this is merged
MOST_COMMITS: Final = 256  # after so many, one states what there is also when there is nothing to merge
TRAINING_MS: Final = 3_600_000  # a training that runs now began no longer ago: its watermark is still told apart


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many parts were merged away, and how many files removed."""

    merged: int
    swept: int


def tidied(
    lake: Lake, tables: Iterable[str], releases: Sequence[Mapping[str, Watermark]], most_parts: int = MOST_PARTS,
    unseen_s: float = SWEEP_AFTER_S,
) -> Tidied:  # fmt: skip
    """Merge the small parts of every table that has many and remove what nobody can need any more.

    What a live tail is made again from, row by row (features/lineage.py), is kept through the merge. Files go when they
    have been out of sight for `unseen_s` seconds.
    """
    merged = swept = 0
    for table in tables:
        commits = lake.since_base(table)
        if len(visible(commits)) > most_parts or len(commits) > MOST_COMMITS:
            commit = _compacted(lake, table, releases, restate=len(commits) > MOST_COMMITS, unseen_s=unseen_s)
            merged += len(commit.removed) if commit else 0
        swept += len(lake.sweep(table, unseen_s))
    return Tidied(merged, swept)


def _compacted(
    lake: Lake, table: str, releases: Sequence[Mapping[str, Watermark]], *, restate: bool, unseen_s: float
) -> Commit | None:
    before_ms = time.time_ns() // 1_000_000 - TRAINING_MS

    def describe(made: Mapping[str, tuple[Part, ...]]) -> Mapping[str, Any]:
        known = lineage(lake.since_base(table))
        return states({name: coalesced(of_parts(group, known), releases, before_ms) for name, group in made.items()})

    return lake.compact(table, describe, restate=restate, cut_after_s=unseen_s)
