"""Values of the live state: what a read returns, what a write answers."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, TypeAlias

import orjson

from features import consents
from features.columns import ItemKind
from features.consents import Word
from features.history import History
from service.journal import ZERO, Entry
from service.tail import merged_rows, tail_history

ALIAS_FIELD: Final = b"alias"
PROFILES: Final = (b"attr", b"oattr")  # the customer's own, and that of another id of his
FROM_LAKE: Final = b"lake.consents"
Outcome: TypeAlias = Literal["stored", "duplicate", "conflict", "rejected"]


class Status(enum.Enum):
    """How much of a customer may be known."""

    known = "ok"
    off = "off"  # personalization refused: consent only
    gone = "gone"  # erased: a tombstone
    alias = "alias"  # another id of the same person


def field_of_word(purpose: str, channel: str) -> bytes:
    """Return the field of a customer's hash that holds the last word on a purpose and channel."""
    return f"n:{purpose}:{channel}".encode()


def words_of(fields: Mapping[bytes, bytes]) -> dict[tuple[str, str], Word]:
    """Return the words among a customer's fields by (purpose, channel)."""
    found = {}
    for name, said in fields.items():
        if name.startswith(b"n:"):
            purpose, _, channel = name[2:].decode().partition(":")
            at, state, source = said.decode().split("|", 2)
            found[purpose, channel] = Word(int(at), state, source)
    return found


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

    @property
    def words(self) -> dict[tuple[str, str], Word]:
        """The customer's last words by (purpose, channel); the channel is empty for all."""
        return words_of(self.fields)

    def consent(self, purpose: str, channel: str = "") -> str | None:
        """The customer's last word, `on` or `off`; None when nothing was said."""
        said = self.words.get((purpose, channel))
        return said.state if said else None

    def may_touch(self, purpose: str, channel: str) -> bool:
        """Whether a message for this purpose may go to the customer on this channel; see `consents.may_touch`.

        What was never said is a no, and so is everything about a customer who was erased.
        """
        return self.status is not Status.gone and consents.may_touch(self.words, purpose, channel)

    @property
    def knows_words(self) -> bool:
        """Whether the server has been told what the lake knows; an emptied one has not, so consent is not known."""
        return FROM_LAKE in self.versions

    def obeying(self, refused_at: int | None) -> Self:
        """Return the state as it may be used when a release says that the customer refused then (UTC µs).

        A word of the live state that is later lifts the refusal.
        """
        said = self.words.get((consents.PERSONALIZATION, consents.ALL_CHANNELS))
        lifted = said is not None and said.is_on and refused_at is not None and said.at > refused_at
        if refused_at is None or lifted or self.status is not Status.known:
            return self
        kept = {name: value for name, value in self.fields.items() if name.startswith(b"n:")}
        return replace(self, status=Status.off, fields=kept, tail=b"", exposures=b"")

    @property
    def other_ids(self) -> tuple[str, ...]:
        """Further ids of the same person; see service/merges.py."""
        return tuple(sorted(name[4:].decode() for name in self.fields if name.startswith(b"was:")))

    def along_with(self, tails: Sequence[tuple[bytes, bytes]], trips: int) -> Self:
        """Return the state with the (tail, exposures) of the person's other ids."""
        rows, exposures = zip((self.tail, self.exposures), *tails, strict=True)
        return replace(self, tail=merged_rows(rows), exposures=merged_rows(exposures), trips=trips)

    @property
    def attributes(self) -> Mapping[str, Any] | None:
        """The latest row of the table `customers` that came in live, None when none did."""
        return self._profile(PROFILES[0])

    @property
    def attributes_of_others(self) -> Mapping[str, Any] | None:
        """The latest such row that came in under another id of the person, before they were known to be one."""
        return self._profile(PROFILES[1])

    def _profile(self, name: bytes) -> Mapping[str, Any] | None:
        body = self.fields.get(name)
        return orjson.loads(body)["row"] if body else None

    def shown(self, kind: ItemKind, idx_of: Callable[[str], int], timezone: str) -> History:
        """What was shown to the customer since the release, of one item kind."""
        return tail_history(self.exposures, kind, idx_of, timezone)

    def history(self, kind: ItemKind, idx_of: Callable[[str], int], timezone: str) -> History:
        """The live tail as a `History` of one item kind; see `tail_history`."""
        return tail_history(self.tail, kind, idx_of, timezone)
