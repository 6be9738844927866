"""Lineage: which ranges of the journal the rows of a part came from, kept when parts are merged (DESIGN §5).

A live tail is made again from the lake by asking, row by row, whether it lies above a release's watermark. So every
part is a sequence of segments (rows, ranges), in the order of its rows: `ranges` says up to where each partition of the
journal had been taken when the segment was committed. Rows of files, and events that came late, have no ranges: they
are in no tail. A commit that rewrites parts (compaction, erasure) states the segments of what it adds in
`meta["lineage"]`, made by `states`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from features.commits import Commit, Part
from features.watermarks import JOURNAL, Watermark, id_key

LINEAGE: Final = "lineage"
LATE: Final = "late"
Ranges: TypeAlias = Mapping[str, tuple[str, str, str]]  # partition → (epoch, first id, last id)


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows of a part that came from the same ranges of the journal; none for rows of files."""

    rows: int
    ranges: Ranges


def lineage(commits: Iterable[Commit]) -> dict[str, tuple[Segment, ...]]:
    """Return the segments of every part that the commits of a table, in order, name."""
    found: dict[str, tuple[Segment, ...]] = {}
    for commit in commits:
        stated = commit.meta.get(LINEAGE, {})
        ranges = {p: (span[0], span[1], span[2]) for p, span in commit.meta.get(JOURNAL, {}).items()}
        late = commit.meta.get(LATE, ())
        for part in commit.added:
            if part.name in stated:
                found[part.name] = tuple(
                    Segment(rows, {p: (s[0], s[1], s[2]) for p, s in spans.items()})
                    for rows, spans in stated[part.name]
                )
            elif part.name not in found:
                found[part.name] = (Segment(part.rows, {} if part.name in late else ranges),)
    return found


def states(segments: Mapping[str, Sequence[Segment]]) -> dict[str, Any]:
    """Return what a commit's meta says of the parts it adds: part name → [[rows, ranges], …]."""
    return {
        LINEAGE: {
            name: [[one.rows, {p: list(span) for p, span in one.ranges.items()}] for one in some]
            for name, some in segments.items()
        }
    }


def coalesced(segments: Iterable[Segment], marks: Sequence[Mapping[str, Watermark]], before_ms: int) -> list[Segment]:
    """Join neighbouring segments that no release tells apart and that are older than `before_ms`.

    A segment younger than that may still be cut by the watermark of a training that runs now.
    """
    found: list[Segment] = []
    for one in segments:
        joined = None
        if found and _same(found[-1], one, marks, before_ms):
            joined = _joined(found[-1], one)
        if joined is not None:
            found[-1] = joined
        else:
            found.append(one)
    return found


def _same(one: Segment, other: Segment, marks: Sequence[Mapping[str, Watermark]], before_ms: int) -> bool:
    if bool(one.ranges) != bool(other.ranges):
        return False
    if any(id_key(last)[0] >= before_ms for s in (one, other) for _, _, last in s.ranges.values()):
        return False
    return all(_contains(mark, one) == _contains(mark, other) for mark in marks)


def _contains(marks: Mapping[str, Watermark], segment: Segment) -> bool:
    return all(
        p in marks and marks[p].epoch == epoch and id_key(last) <= id_key(marks[p].id)
        for p, (epoch, _, last) in segment.ranges.items()
    )


def _joined(one: Segment, other: Segment) -> Segment | None:
    ranges = dict(one.ranges)
    for p, (epoch, first, last) in other.ranges.items():
        before = ranges.get(p)
        if before is not None and before[0] != epoch:
            return None
        ranges[p] = (epoch, first if before is None else before[1], last)
    return Segment(one.rows + other.rows, ranges)


def narrowed(segments: Iterable[Segment], kept: Sequence[bool]) -> list[Segment]:
    """Return the segments of a part that was rewritten without some of its rows: `kept` says which stayed, in order."""
    found, start = [], 0
    for one in segments:
        rows = sum(kept[start : start + one.rows])
        start += one.rows
        if rows:
            found.append(Segment(rows, one.ranges))
    return found


def of_parts(parts: Iterable[Part], known: Mapping[str, Sequence[Segment]]) -> list[Segment]:
    """Return the segments of some parts, one after the other."""
    return [segment for part in parts for segment in known.get(part.name, (Segment(part.rows, {}),))]
