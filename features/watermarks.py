"""Watermarks: how far the journal has been taken into the lake, and so into a release (DESIGN §3, §5).

Every commit by which the keeper drains the journal says which range of each partition it holds; a release's manifest
says up to where it has seen. What lies above is what a decision reads as the live tail, by stream id and never by time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from features.commits import UPTO, Commit

JOURNAL: Final = "journal"


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a partition has been taken in: up to and including `id` of the server's life `epoch`."""

    epoch: str
    id: str


def ranges_meta(ranges: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    """Return what a lake commit says about the ranges it holds: partition → (epoch, first id, last id)."""
    return {JOURNAL: {partition: list(span) for partition, span in ranges.items()}}


def watermarks(commits: Iterable[Commit]) -> dict[str, Watermark]:
    """How far each partition is in the lake, from a table's commits in order: what a release's manifest records.

    Of the table `events`, whose commit is the last of every drain, this bounds every other table too. A partition
    that is absent has never been drained.
    """
    found: dict[str, Watermark] = {}
    for commit in commits:
        for partition, told in commit.meta.get(UPTO, {}).items():
            found[partition] = Watermark(*told["last"])
        for partition, (epoch, _, last) in commit.meta.get(JOURNAL, {}).items():
            found[partition] = Watermark(epoch, last)
    return found


def lives(commits: Iterable[Commit]) -> dict[str, dict[str, str]]:
    """Return, per partition, the lives (epochs) a table's commits tell of, in order, with the highest id of each."""
    found: dict[str, dict[str, str]] = {}
    for commit in commits:
        spans = [(p, epoch, last) for p, told in commit.meta.get(UPTO, {}).items() for epoch, last in told["lives"]]
        spans += [(p, epoch, last) for p, (epoch, _, last) in commit.meta.get(JOURNAL, {}).items()]
        for partition, epoch, last in spans:
            of = found.setdefault(partition, {})
            of[epoch] = max(of.get(epoch, last), last, key=id_key)
    return found


def stated(commits: Iterable[Commit]) -> dict[str, Any]:
    """Return what a commit's meta says so that these commits, all before it, need not be read any more."""
    every = list(commits)
    marks, of = watermarks(every), lives(every)
    return {
        UPTO: {
            partition: {"last": [mark.epoch, mark.id], "lives": [list(life) for life in of[partition].items()]}
            for partition, mark in marks.items()
        }
    }


def id_key(entry_id: str) -> tuple[int, int]:
    """Return a stream id in its order: (ms, sequence)."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)


def write_watermarks(marks: Mapping[str, Watermark]) -> dict[str, str]:
    """Return them as a manifest keeps them: partition → `<epoch>:<stream id>`."""
    return {partition: f"{mark.epoch}:{mark.id}" for partition, mark in marks.items()}


def read_watermarks(said: Mapping[str, str]) -> dict[str, Watermark]:
    """Read a manifest's watermarks."""
    return {partition: Watermark(*text.rpartition(":")[::2]) for partition, text in said.items()}
