"""Lives of a shop's journal: which rows of the lake each release still reads as its tail (docs/adr/0012)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from features.lake import Lake
from features.watermarks import Watermark, lives
from service.drain import TABLES
from service.journal import ZERO, all_partitions, id_key

FORMER: Final = "0-1"  # the id of rows from an earlier life: before every id of this one
Marks: TypeAlias = Mapping[str, Watermark]
Span: TypeAlias = tuple[str, str, str]  # epoch, first id, last id


@dataclass(frozen=True)
class Source:
    """What a shop's live state is made from; `releases` oldest first, `serving` is the one the pointer names."""

    shop: str
    lake: Lake
    rejects: Path
    releases: Sequence[Marks]
    serving: Marks | None


@dataclass(frozen=True)
class Lives:
    """Each partition's life now, and those the lake has drained, in order, with the last id of each."""

    now: Mapping[str, str]
    drained: Mapping[str, Mapping[str, str]]

    def is_above(self, marks: Marks, partition: str, span: Span) -> bool:
        """Whether rows drained with `span` lie above a release's watermark."""
        mark, order = marks.get(partition), list(self.drained[partition])
        if mark is None or mark.epoch not in order:
            return True
        if mark.epoch == span[0]:
            return id_key(span[2]) > id_key(mark.id)
        return order.index(span[0]) > order.index(mark.epoch)

    def is_wanted(self, source: Source, partition: str, span: Span) -> bool:
        """Whether some release reads these rows as its tail.

        Every release tells rows of this life apart. Rows of earlier ones are read whole by each release of an earlier
        life, so they are those above one release: that which serves, else the newest.
        """
        if not source.releases:
            return True
        if span[0] == self.now[partition]:
            return any(self.is_above(marks, partition, span) for marks in source.releases)
        former = [m for m in source.releases if partition not in m or m[partition].epoch != self.now[partition]]
        judge = source.serving if source.serving in former else (former[-1] if former else None)
        return judge is not None and self.is_above(judge, partition, span)

    def id_of(self, partition: str, span: Span) -> str:
        """Return the stream id that rows drained with `span` carry."""
        return span[2] if span[0] == self.now[partition] else FORMER


def drained_lives(lake: Lake, partitions: int) -> dict[str, dict[str, str]]:
    """Return, per partition, the lives the lake has drained, in order, with the highest id of each in any table."""
    found: dict[str, dict[str, str]] = {p: {} for p in all_partitions(partitions)}
    for table in (TABLES[-1], *TABLES[:-1]):  # `events` first: its commits tell the order
        for p, told in lives(lake.commits(table)).items():
            of = found.setdefault(p, {})
            for epoch, last in told.items():
                of[epoch] = max(of.get(epoch, ZERO), last, key=id_key)
    return found


def renumbered(lost: Iterable[tuple[Span, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Give each entry an id within its range, ascending; the last one gets the end of its range."""
    ordered = sorted(lost, key=lambda one: id_key(one[0][2]))  # stable: the order within a kind stays
    before = (0, 0)
    for n, ((_, first, last), body) in enumerate(ordered):
        chosen = max((before[0], before[1] + 1), id_key(first))
        if n == len(ordered) - 1:
            chosen = id_key(last)
        before = chosen
        yield f"{chosen[0]}-{chosen[1]}", body
