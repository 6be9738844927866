"""What the service does besides deciding: take events, catalogue, customers and consent in, and show what is known."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import structlog
from pydantic import ValidationError

from features import columns as c
from features.attributes import attributes_of
from features.columns import EventKind, ItemKind
from features.consents import PERSONALIZATION
from features.errors import ServiceUnreachable, StorageFull, UsageError
from features.identities import MERGED
from features.lake import Lake
from features.shop import Shop, open_shop
from models.release_store import DirectoryStore
from service import customer_state
from service.control import ControlPlane
from service.customer_state import CustomerState, Status
from service.decide import attributes_known
from service.faults import field_of, sentence_of
from service.live_state import LiveState
from service.merges import MergeOutcome, Merges
from service.observe import Metrics
from service.problems import CannotMerge, CannotUnmerge, Erased, LimitExceeded, NothingStored, NotKept
from service.profiles import profile_or_why
from service.readings import readings_among, tell_readings
from service.records import (
    AuditEntry,
    AuditOut,
    BundleIn,
    ConsentIn,
    ConsentOut,
    ConsentsOut,
    ContentIn,
    CustomerIn,
    CustomerOut,
    DamagedOut,
    DecisionOut,
    MergedOut,
    ProductIn,
    RecordOut,
    ReleaseOut,
    ReleasesOut,
    Stored,
    TailEvent,
    at_of,
    json_text,
)  # fmt: skip
from service.schemas import EventIn, EventResult, EventsAnswer, iso
from service.serving_set import ServingSets
from service.settings import ServiceSettings
from service.tail import LiveEvent, decode_rows

AHEAD_US: Final = 86_400_000_000  # a clock may run this far ahead; beyond lies a mistake of the unit or the zone
AT_A_TIME: Final = 500
_NO_MERGE: Final = {
    MergeOutcome.same: "A customer cannot be merged into himself; name two ids.",
    MergeOutcome.circle: "The customer who shall stay is another id of the one who shall go: they are one person.",
    MergeOutcome.taken: "This id belongs to another customer already, and one person is not taken apart again; "
    "if the two customers are one person, merge them.",
}  # fmt: skip
KEYS: Final = {ItemKind.product: c.PRODUCT_ID, ItemKind.content: c.CONTENT_ID, ItemKind.bundle: c.BUNDLE_ID}


@dataclass(frozen=True, eq=False)
class UseCases:
    """One worker's use cases over the live state, the serving sets and the shops on disk."""

    settings: ServiceSettings
    state: LiveState
    sets: ServingSets
    control: ControlPlane
    metrics: Metrics
    clock: Callable[[], int]
    _shops: dict[str, Shop] = field(default_factory=dict)
    _lakes: dict[str, Lake] = field(default_factory=dict)

    async def shop(self, name: str) -> Shop:
        """Return a shop whose live state has been checked once in this worker."""
        if name not in self._shops:
            found = await asyncio.to_thread(open_shop, self.settings.home, name)
            await self.state.open_shop(name)
            self._shops[name] = found
        return self._shops[name]

    # Events

    async def take_events(self, shop: str, sent: Sequence[Any]) -> EventsAnswer:
        """Store what can be read of a batch; raise `NothingStored` when every single event is refused."""
        if len(sent) > self.settings.events_per_batch:
            raise LimitExceeded("The number of events in a batch", self.settings.events_per_batch)
        timezone, latest = (await self.shop(shop)).timezone, self.clock() + AHEAD_US
        results: list[EventResult | None] = []
        good: list[LiveEvent] = []
        for number, one in enumerate(sent):
            event = _read_event(one, timezone, latest)
            results.append(event if isinstance(event, EventResult) else None)
            if isinstance(event, LiveEvent):
                good.append(event)
            if number % AT_A_TIME == AT_A_TIME - 1:
                await asyncio.sleep(0)  # a long batch lets the requests beside it go on
        kept = await self.state.append_events(shop, good, self.clock()) if good else []
        await self._tell_readings(shop, [e for e, d in zip(good, kept, strict=True) if d.outcome == "stored"])
        done = iter(kept)
        told = [result or _event_result(next(done)) for result in results]
        for result in told:
            self.metrics.events.labels(shop, result.result).inc()
        if all(result.result in ("invalid", "conflict", "erased") for result in told):
            raise NothingStored(told)
        return EventsAnswer(stored=sum(r.result in ("stored", "late") for r in told), results=told)

    async def _tell_readings(self, shop: str, stored: Sequence[LiveEvent]) -> None:
        """Let the pulse of contents beat; the events are safe already, so its failure is not theirs."""
        readings = readings_among(stored)
        if not readings or self.sets.release_id(shop) is None:
            return
        try:
            await tell_readings(self.state, self.sets.of(shop), readings, self.clock())
        except (ServiceUnreachable, StorageFull) as error:
            self.metrics.unheard.labels(shop).inc(len(readings))
            structlog.get_logger("pond.service").warning("pulse_not_told", shop=shop, error=str(error))

    # Catalogue

    async def put_items(
        self, shop: str, kind: ItemKind, records: Mapping[str, ProductIn | ContentIn | BundleIn]
    ) -> Stored:
        """Store full versions of items, by id; every worker's next request sees them."""
        timezone, now = (await self.shop(shop)).timezone, self.clock()
        since = await self._since(shop, kind, list(records), now)
        rows = [record.row(KEYS[kind], item_id, since[item_id], timezone) for item_id, record in records.items()]
        for row in rows:
            # What the release does not know has come with its row, and that must not lie ahead of the clock.
            if row[c.VALID_FROM] > now and kind is ItemKind.product and not self._trained(shop, kind, row[KEYS[kind]]):
                row.setdefault("created_at", now)
        return Stored(stored=len(rows), version=await self.state.put_catalogue(shop, kind, rows))

    async def _since(self, shop: str, kind: ItemKind, ids: Sequence[str], now: int) -> dict[str, int]:
        """Return from when versions told now hold: after those before, even if the clock stepped back since."""
        found: dict[str, int] = {}
        for item_id, live in zip(ids, await self.state.catalogue_rows(shop, kind, ids), strict=True):
            rows = (self._trained(shop, kind, item_id), live.row if live else {})
            found[item_id] = max(now, *(int(row.get(c.VALID_FROM) or 0) + 1 for row in rows))
        return found

    def _trained(self, shop: str, kind: ItemKind, item_id: str) -> Mapping[str, Any]:
        """Return the row of an item that the serving release was trained with, without what is unknown."""
        if self.sets.release_id(shop) is None:
            return {}
        trained = self.sets.of(shop).models.items_of(kind)
        idx = trained.ids.idx(item_id)
        row = trained.frame.row(idx, named=True) if idx >= 0 else {}
        return {name: value for name, value in row.items() if value is not None}

    async def get_item(self, shop: str, kind: ItemKind, item_id: str) -> RecordOut:
        """Return an item as it is known now: what came in live, else what the release was trained with."""
        await self.shop(shop)
        live = (await self.state.catalogue_rows(shop, kind, [item_id]))[0]
        if live is not None:
            return RecordOut(id=item_id, source="live", fields=dict(live.row))
        if row := self._trained(shop, kind, item_id):
            fields = {name: value for name, value in row.items() if name != "idx"}
            return RecordOut(id=item_id, source="release", fields=fields | {KEYS[kind]: item_id})
        raise NotKept(kind.name)

    async def delete_item(self, shop: str, kind: ItemKind, item_id: str) -> Stored:
        """Take an item out of every answer from the next request on; its history stays."""
        known, now = (await self.get_item(shop, kind, item_id)).fields, self.clock()
        ended = {"expires_at": now} if kind is ItemKind.content else {"status": "deleted"}
        row = dict(known) | {c.VALID_FROM: (await self._since(shop, kind, [item_id], now))[item_id]} | ended
        return Stored(stored=1, version=await self.state.put_catalogue(shop, kind, [row]))

    # Customers

    async def put_customers(self, shop: str, records: Mapping[str, CustomerIn]) -> Stored:
        """Store profiles; the customers' next decisions see them."""
        timezone, now = (await self.shop(shop)).timezone, self.clock()
        for customer_id, record in records.items():
            outcome = await self.state.put_customer(shop, record.row(c.CUSTOMER_ID, customer_id, now, timezone))
            if outcome == "rejected":
                raise Erased
        return Stored(stored=len(records))

    async def put_consent(self, shop: str, customer_id: str, said: ConsentIn) -> Stored:
        """Store a customer's word; the next decision obeys it."""
        timezone, now = (await self.shop(shop)).timezone, self.clock()
        at = await self._newest(shop, customer_id, said, now) if said.at is None else at_of(said.at, timezone)
        if at > now + AHEAD_US:
            raise UsageError("`at` lies in the future; consent holds from when it was given.")
        row = {c.CUSTOMER_ID: customer_id, **said.model_dump(exclude={"at"}), c.AT: at}
        if await self.state.put_consent(shop, row) == "rejected":
            raise Erased
        return Stored(stored=1)

    async def _newest(self, shop: str, customer_id: str, said: ConsentIn, now: int) -> int:
        """Return the moment of a word that is said now: after the one before, even if the clock stepped back since."""
        channel = "" if said.purpose == PERSONALIZATION else said.channel or ""
        before = (await self._read(shop, customer_id)).words.get((said.purpose, channel))
        return now if before is None else max(now, before.at + 1)

    async def get_consents(
        self, shop: str, customer_id: str, purpose: str | None = None, channel: str | None = None
    ) -> ConsentsOut:
        """Return a customer's last words, and whether he may be sent what is asked about."""
        state = await self._read(shop, customer_id)
        if state.status is Status.gone:
            raise Erased
        told = [
            ConsentOut(purpose=name, channel=on or None, state=word.state, at=iso(word.at), source=word.source)
            for (name, on), word in sorted(state.words.items())
        ]
        asked = None if purpose is None else state.may_touch(purpose, channel or "")
        return ConsentsOut(
            customer_id=state.customer_id, personalization="on" if state.is_personal else "off", consents=told,
            may_touch=asked,
        )  # fmt: skip

    async def merge(self, shop: str, other: str, into: str, id_type: str = MERGED) -> MergedOut:
        """Let an id mean the same person as another from the next request on."""
        await self.shop(shop)
        done = await Merges(self.state).merge(shop, other, into, id_type)
        if done.outcome is MergeOutcome.erased:
            raise Erased
        if done.outcome in _NO_MERGE:
            raise CannotMerge(_NO_MERGE[done.outcome])
        return MergedOut(customer_id=done.customer_id, other_id=other, result=done.outcome.value)

    async def unmerge(self, shop: str, other: str) -> MergedOut:
        """Refuse: one person is not taken apart again; an id that is nobody's other one is not kept."""
        state = await self._read(shop, other)
        if state.customer_id == other:
            raise NotKept("identity")
        raise CannotUnmerge

    async def get_customer(self, shop: str, customer_id: str) -> CustomerOut:
        """Return what a decision would know of a customer now."""
        state = await self._read(shop, customer_id)
        serving = self.sets.of(shop) if self.sets.release_id(shop) is not None else None
        person = serving.models.person((state.customer_id, *state.other_ids)) if serving else ()
        if state.status is Status.gone or (state.is_personal and not (person or state.fields)):
            raise NotKept("customer")
        is_off = state.status is Status.off
        live = attributes_of((state.attributes or {}).get("attributes"))
        attributes = attributes_known(serving.models, state) if serving else live
        profile, note = profile_or_why(serving.models if serving else None, state, self.clock())
        return CustomerOut(
            customer_id=state.customer_id, personalization="off" if is_off else "on", known_to_release=bool(person),
            other_ids=list(state.other_ids), attributes={} if is_off else attributes,
            consents={":".join(filter(None, said)): word.state for said, word in state.words.items()},
            profile=profile, profile_note=note, recent=[
                TailEvent(at=iso(row.at), kind=row.kind.name, item_kind=row.item_kind.name, item_id=row.item_id)
                for row in decode_rows(state.tail)
            ],
        )  # fmt: skip

    async def _read(self, shop: str, customer_id: str) -> CustomerState:
        """Read a customer as a decision does."""
        await self.shop(shop)
        serving = self.sets.of(shop) if self.sets.release_id(shop) is not None else None
        state = await self.state.read(shop, customer_id, serving.watermarks if serving else None)
        return state.obeying(serving.models.refusals.at_of(state.customer_id)) if serving else state

    # What was decided, and what serves

    async def get_decision(self, shop: str, decision_id: str) -> DecisionOut:
        """Return a logged decision, from the journal or, when it has been trimmed there, from the lake."""
        where = await self.shop(shop)
        row = await self.state.get_decision(shop, decision_id)
        if row is None:
            lake = self._lakes.setdefault(shop, Lake(where.lake_dir))
            row = await asyncio.to_thread(_decision_in_lake, lake, decision_id)
        if row is None:
            raise NotKept("decision")
        return DecisionOut(
            decision_id=decision_id, customer_id=row[c.CUSTOMER_ID], at=iso(row[c.AT]), scene=row["scene"],
            release=row["release"], body=json.loads(row["body"]),
        )  # fmt: skip

    async def list_releases(self, shop: str) -> ReleasesOut:
        """Return the shop's releases, which of them serves, and which cannot be read."""
        store = DirectoryStore((await self.shop(shop)).releases_dir)
        found, current = await asyncio.to_thread(store.inspect), store.current_id()
        releases = [
            ReleaseOut(
                release_id=m.release_id, created_at=iso(m.created_at), as_of=iso(m.as_of), metrics=m.metrics,
                gates=m.gates, is_current=m.release_id == current,
            )
            for m in found.manifests
        ]  # fmt: skip
        return ReleasesOut(
            current=current, serving=self.sets.release_id(shop), releases=releases,
            damaged=[DamagedOut(release_id=name, why=why) for name, why in found.damaged.items()],
        )  # fmt: skip

    async def audit(self, shop: str, limit: int) -> AuditOut:
        """Return who did what to the shop, newest first."""
        found = await asyncio.to_thread(self.control.audit, shop, limit)
        return AuditOut(
            entries=[
                AuditEntry(at=iso(row.at), actor=row.actor, action=row.action, details=dict(row.details))
                for row in found
            ]
        )

    async def promote(self, shop: str, release_id: str, actor: str) -> ReleasesOut:
        """Let a release serve; workers follow within a second."""
        store = DirectoryStore((await self.shop(shop)).releases_dir)
        await asyncio.to_thread(store.promote, release_id)
        await asyncio.to_thread(self.control.record, actor, shop, "release.promote", {"release": release_id})
        return await self.list_releases(shop)

    async def rollback(self, shop: str, actor: str) -> ReleasesOut:
        """Let the release before this one serve again."""
        store = DirectoryStore((await self.shop(shop)).releases_dir)
        release_id = await asyncio.to_thread(store.rollback)
        await asyncio.to_thread(self.control.record, actor, shop, "release.rollback", {"release": release_id})
        return await self.list_releases(shop)


def _read_event(one: Any, timezone: str, latest: int) -> LiveEvent | EventResult:
    try:
        event = EventIn.model_validate(one)
        props = None if event.props is None else json_text(event.props)
        (props or "").encode()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        offered = one.get(c.EVENT_ID) if isinstance(one, dict) else None
        named = offered if isinstance(offered, str) and len(offered) <= 256 else ""
        detail = f"{field_of(first['loc']) or 'event'}: {sentence_of(first)}"
        return EventResult(event_id=named, result="invalid", detail=detail)
    except ValueError:
        return EventResult(event_id=event.event_id, result="invalid", detail="props: holds what JSON text cannot.")
    at = at_of(event.at, timezone)
    if at > latest:
        return EventResult(event_id=event.event_id, result="invalid", detail="at: lies in the future; mend the clock.")
    return LiveEvent(
        event.event_id, event.customer_id, EventKind[event.kind], at, ItemKind[event.item_kind], event.item_id,
        event.quantity, event.price, event.order_id, event.channel, event.decision_id, event.touch_id, event.position,
        event.value, props,
    )  # fmt: skip


def _event_result(done: customer_state.EventResult) -> EventResult:
    if done.outcome == "conflict":
        detail = "Another event has this id already; an event that happened once keeps its content."
        return EventResult(event_id=done.event_id, result="conflict", detail=detail)
    if done.outcome == "rejected":
        return EventResult(event_id=done.event_id, result="erased", detail="This customer was erased on request.")
    is_late = done.outcome == "stored" and done.late
    return EventResult(event_id=done.event_id, result="late" if is_late else done.outcome)


def _decision_in_lake(lake: Lake, decision_id: str) -> Mapping[str, Any] | None:
    found = lake.scan("decisions").filter(pl.col(c.DECISION_ID) == decision_id).head(1).collect()
    return found.row(0, named=True) if found.height else None
