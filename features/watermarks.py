"""Watermarks: how far the journal has been taken into the lake, and so into a release (DESIGN §3, §5).

Every commit by which the keeper drains the journal says which range of each partition it holds; a release's manifest
says up to where it has seen. What lies above is what a decision reads as the live tail, by stream id and never by time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from features.lake import Commit


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a partition has been taken in: up to and including `id` of the server's life `epoch`."""

    epoch: str
    id: str


def ranges_meta(ranges: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    """Return what a lake commit says about the ranges it holds: partition → (epoch, first id, last id)."""
    return {"journal": {partition: list(span) for partition, span in ranges.items()}}


def watermarks(commits: Iterable[Commit]) -> dict[str, Watermark]:
    """How far each partition is in the lake, from a table's commits in order: what a release's manifest records.

    Of the table `events`, whose commit is the last of every drain, this bounds every other table too. A partition
    that is absent has never been drained.
    """
    found: dict[str, Watermark] = {}
    for commit in commits:
        for partition, (epoch, _, last) in commit.meta.get("journal", {}).items():
            found[partition] = Watermark(epoch, last)
    return found


def write_watermarks(marks: Mapping[str, Watermark]) -> dict[str, str]:
    """Return them as a manifest keeps them: partition → `<epoch>:<stream id>`."""
    return {partition: f"{mark.epoch}:{mark.id}" for partition, mark in marks.items()}


def read_watermarks(said: Mapping[str, str]) -> dict[str, Watermark]:
    """Read a manifest's watermarks."""
    return {partition: Watermark(*text.rpartition(":")[::2]) for partition, text in said.items()}
