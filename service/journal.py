"""The journal: what an entry of a partition's stream says, which table it belongs to, and how far the lake has it.

An entry has one field, `j`: a JSON object `{"v": 1, "t": type, "row": {…}}` whose row holds columns of the table's
contract (features/contracts.py), absent where unknown; `"late": true` marks an event too old for a live tail. Entries
of an older format version stay readable; a newer one is refused.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from features.contracts import table_named
from features.errors import ArtifactCorrupt, ReleaseError
from features.ids import stable_hash
from features.watermarks import Watermark

FORMAT_VERSION: Final = 1
FIELD: Final = b"j"
CATALOGUE: Final = "c"  # the partition of what belongs to the shop, not to a customer
ZERO: Final = "0-0"


class EntryType(enum.StrEnum):
    """What an entry is about; the value is the table its row goes to."""

    event = "events"
    decision = "decisions"
    product = "products"
    content = "contents"
    bundle = "bundles"
    customer = "customers"
    consent = "consents"
    identity = "identities"


_COLUMNS: Final = {kind: frozenset(table_named(kind.value).schema) for kind in EntryType}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its stream id (`ms-sequence`), type and row; `late`: too old for a live tail when it came."""

    id: str
    type: EntryType
    row: Mapping[str, Any]
    late: bool = False


NOTHING_YET: Final = Watermark("", ZERO)


def partition_of(customer_id: str, partitions: int) -> str:
    """Return the partition of a canonical customer id: the same in every process, machine and version."""
    return str(stable_hash(customer_id) % partitions)


def all_partitions(partitions: int) -> tuple[str, ...]:
    """Names of a shop's partitions, the catalogue's last."""
    return (*(str(p) for p in range(partitions)), CATALOGUE)


def id_key(entry_id: str) -> tuple[int, int]:
    """Stream ids in their order: (ms, sequence)."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)


def encode(kind: EntryType, row: Mapping[str, Any], *, late: bool = False) -> bytes:
    """Return the canonical bytes of an entry: the same row gives the same bytes.

    A column that the table's contract does not have is a `ValueError`: it could never reach the lake.
    """
    if unknown := row.keys() - _COLUMNS[kind]:
        raise ValueError(f"{kind.value} has no column {sorted(unknown)}")
    known = {name: value for name, value in row.items() if value is not None}
    said = {"v": FORMAT_VERSION, "t": kind.name, "row": known} | ({"late": True} if late else {})
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def decode(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """Read one stream entry; damage is `ArtifactCorrupt`, an entry of a newer Pond a `ReleaseError`."""
    where = f"journal entry {entry_id.decode()}"
    try:
        said = orjson.loads(fields[FIELD])
        version, kind, row = said["v"], said["t"], said["row"]
        if version > FORMAT_VERSION:
            raise ReleaseError(f"The {where} was written by a newer Pond (format {version}); upgrade Pond to read it.")
        return Entry(entry_id.decode(), EntryType[kind], row, said.get("late") is True)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(where, f"cannot be read ({error})") from error


def lowest(marks: Iterable[Mapping[str, Watermark]]) -> dict[str, Watermark]:
    """Return, per partition, the lowest of several releases' watermarks: what trimming must not pass.

    A partition that some release does not know, or knows from another life of the server, is left out: not trimmed.
    """
    every = list(marks)
    found: dict[str, Watermark] = {}
    for partition in every[0] if every else ():
        of = [mark[partition] for mark in every if partition in mark]
        if len(of) == len(every) and len({mark.epoch for mark in of}) == 1:
            found[partition] = min(of, key=lambda mark: id_key(mark.id))
    return found
