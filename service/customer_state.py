"""Values of the live state: what a read returns, what a write answers."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from features.columns import ItemKind
from features.history import History
from service.journal import ZERO, Entry
from service.tail import tail_history

Outcome: TypeAlias = Literal["stored", "duplicate", "conflict", "rejected"]


class Status(enum.Enum):
    """How much of a customer may be known."""

    known = "ok"
    off = "off"  # personalization refused: consent only
    gone = "gone"  # erased: a tombstone
    alias = "alias"  # another id of the same person


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of one event; `stream_id` is set when it was stored."""

    event_id: str
    outcome: Outcome
    stream_id: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer as it is logged; `body` is the JSON object of DESIGN §4 step 9. `at` is UTC µs."""

    decision_id: str
    customer_id: str
    at: int
    scene: str
    release: str
    body: bytes

    def row(self) -> dict[str, Any]:
        """Its row in the table `decisions`."""
        return {
            "decision_id": self.decision_id, "customer_id": self.customer_id, "at": self.at, "scene": self.scene,
            "release": self.release, "body": self.body.decode(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Changes of the catalogue up to `version`; `more` says that the limit cut them."""

    changes: tuple[Entry, ...]
    version: str
    more: bool


@dataclass(frozen=True, eq=False, slots=True)
class CustomerState:
    """One customer above a release's watermark.

    Attributes
    ----------
    customer_id : str
        The canonical id.
    epoch : str
        The server's life; empty when nothing was ever written in this partition.
    fields : mapping
        The customer's hash as stored (see service/live_state.py); with personalization off only consent.
    versions : mapping
        The partition's counters: `catalogue`, `rules`, …
    tail, exposures : bytes
        Rows of service/tail.py above the watermark; empty unless `status` is known.
    trips : int
        Round trips it took.
    """

    customer_id: str
    status: Status
    epoch: str
    fields: Mapping[bytes, bytes]
    versions: Mapping[bytes, bytes]
    tail: bytes
    exposures: bytes
    trips: int = 1

    @property
    def is_personal(self) -> bool:
        """Whether the answer may use what is known of the customer."""
        return self.status is Status.known

    @property
    def alias(self) -> str:
        """The canonical id to read instead, or empty."""
        return self.fields.get(b"alias", b"").decode()

    @property
    def last_id(self) -> str:
        """Stream id of the customer's latest entry: with it above a watermark, the customer has news."""
        return self.fields.get(b"last", ZERO.encode()).decode()

    @property
    def catalogue_version(self) -> str:
        """Version of the shop's live catalogue: the stream id of its last change."""
        return self.version("catalogue")

    def version(self, counter: str) -> str:
        """A counter of the shop as a stream id, `0-0` before its first change."""
        return self.versions.get(counter.encode(), ZERO.encode()).decode()

    def consent(self, purpose: str, channel: str = "") -> str | None:
        """The customer's last word, `on` or `off`; None when nothing was said."""
        said = self.fields.get(f"n:{purpose}:{channel}".encode())
        return said.split(b"|", 2)[1].decode() if said else None

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """The latest row of the table `customers` that came in live, None when none did."""
        body = self.fields.get(b"attr")
        return orjson.loads(body)["row"] if body else None

    def history(self, kind: ItemKind, idx_of: Callable[[str], int], timezone: str) -> History:
        """The live tail as a `History` of one item kind; see `tail_history`."""
        return tail_history(self.tail, kind, idx_of, timezone)
