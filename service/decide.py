"""One decision, top to bottom (DESIGN §4): read, gather, filter, score, arrange, fall back, log, answer.

The pipeline runs in the event loop on purpose: a worker is one core, and a thread would only add a switch.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson

from features.attributes import attributes_of
from features.columns import EventKind, ItemKind
from features.errors import PondError, ServiceUnreachable, StorageFull
from features.history import EMPTY, History
from features.ids import stable_hash
from models.contents.table import NOTHING_TOLD
from models.query import Query
from models.slate import Pick, Request, Slate
from models.storefront import Storefront, kind_of
from models.trained import Models
from service.bundle_answers import bundle_out
from service.command import Command
from service.customer_state import CustomerState, Decision, Outcome, Status
from service.from_lake import LakeWords
from service.groups import GroupTastes, tastes_of
from service.journal import ZERO, id_key
from service.live_state import TYPE_OF, LiveState, mint_decision_id
from service.observe import Metrics
from service.problems import LimitExceeded, UnknownScene
from service.readings import PulseFollower
from service.rulebooks import RULES, RuleBooks
from service.schemas import ContentOut, GroupOut, ItemOut, ReasonOut, RecommendAnswer
from service.serving_set import ServingSet, ServingSets
from service.settings import ServiceSettings
from service.spool import Spool
from service.state_client import state_errors

NOBODY: Final = "(nobody)"  # whom a decision without a customer, or of an erased one, is logged under
NON_PERSONAL_SCENE: Final = "popular"
UNREACHABLE: Final = "the state server does not answer: consent is not known, so nothing personal is shown"
SWITCHED_OFF: Final = "this customer has switched personalization off: nothing personal is shown"
LAKE_WAIT_SECONDS: Final = 1.0  # for consent to come back from the lake; until then nothing personal is shown
_FULL_HASH: Final = float(2**64)


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """What one answer is made from: one serving set, one read of the customer, one moment (UTC µs)."""

    serving: ServingSet
    state: CustomerState | None
    now: int
    rules_read: bool = True

    @property
    def may_learn(self) -> bool:
        """Whether anything may be tried out on this answer and learned from it: consent is known and not refused."""
        return self.state is not None and self.state.is_personal

    @property
    def logged_as(self) -> str:
        """The canonical id, or nobody's for a customer who was erased."""
        if self.state is None or self.state.status is Status.gone:
            return NOBODY
        return self.state.customer_id


class Decider:
    """Answers the questions of all shops in one worker."""

    def __init__(
        self, sets: ServingSets, state: LiveState, spool: Spool, settings: ServiceSettings, metrics: Metrics,
        clock: Callable[[], int], words: LakeWords, *, books: RuleBooks,
    ) -> None:  # fmt: skip
        self._sets, self._state, self._spool, self._words, self._books = sets, state, spool, words, books
        self._settings, self._metrics, self._clock = settings, metrics, clock
        self._pulse = PulseFollower(state, sets)
        self._catalogue_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def decide(self, shop: str, command: Command, *, is_away: bool = False) -> RecommendAnswer:
        """Answer one question; with `is_away` the caller has just seen that the state server does not answer.

        Raises
        ------
        NoRelease, UnknownScene, LimitExceeded
            There is nothing to answer with, or the question makes no sense.
        StorageFull
            Neither the state server nor the disk can keep the decision; what cannot be logged is not answered.
        """
        while (answer := await self._decide_once(shop, command, is_away=is_away)) is None:
            pass  # the customer was erased between the read and the log: what was made of him is not shown
        return answer

    async def _decide_once(self, shop: str, command: Command, *, is_away: bool) -> RecommendAnswer | None:
        # 1. One reference to what serves.
        serving = self._sets.of(shop)
        if command.scene not in serving.storefront.scenes:
            raise UnknownScene(serving.storefront.scenes)
        if command.group is not None and kind_of(command.scene) is not ItemKind.product:
            raise UnknownScene(tuple(serving.storefront.pipeline.scenes))
        if command.k > self._settings.k_max:
            raise LimitExceeded("k", self._settings.k_max)
        # 2. What is known of the customer and the catalogue, in one round trip.
        known = Known(serving, None, self._clock()) if is_away else await self._known(serving, command)
        known = await self._under_rules(known)
        # 3. Experiments: variants are assigned here (issue 7), before anything is gathered.
        # 4.-8. Gather, filter, score, arrange, fall back.
        who = (command.customer_id or NOBODY) if known.state is None else known.logged_as
        decision_id = mint_decision_id(who, self._state.partitions)
        # Who is not personal takes part in no experiment: chance would tell two of them apart.
        share = self._settings.explore_share if known.may_learn else 0.0
        share = share if _may_explore(command, known) else 0.0
        seed = stable_hash(decision_id) if _share_of(decision_id) < share else None
        tastes = await self._tastes(command, known)
        slate, share_covered = _chosen(command, known, seed, tastes)
        # 9. Log before answering.
        answer = _answer(decision_id, command, known, slate)
        if tastes is not None:
            told = GroupOut(members_counted=len(tastes.lists), coverage=share_covered)
            answer = answer.model_copy(update={"group": told, "degraded": [*answer.degraded, *tastes.notes]})
        body = _body(command, known, slate, answer, explore={"share": share, "seed": seed})
        decision = Decision(decision_id, who, known.now, command.scene, known.serving.release_id, body)
        if await self._log(shop, decision, is_reachable=known.state is not None) == "rejected":
            return None
        stages = [pick.stage for pick in slate.picks]
        self._metrics.count_answer(shop, command.scene, stages, _causes(command, known, slate))
        return answer

    async def _tastes(self, command: Command, known: Known) -> GroupTastes | None:
        if command.group is None or known.state is None:
            return None
        return await tastes_of(self._state, self.read, known.serving, command.group, command.scene, known.now)

    async def _known(self, serving: ServingSet, command: Command) -> Known:
        try:
            state = await self.read(serving, command.customer_id or NOBODY)
            # One deadline for the wait and the fetch: those who wait for it give up together, not one after the other.
            async with state_errors(), asyncio.timeout(self._settings.write_ms / 1e3):
                serving = await self._with_catalogue(serving, state.catalogue_version)
                if _shows_contents(command, serving):
                    serving = await self._pulse.follow(serving)
        except ServiceUnreachable:
            # 10. Only what is not personal, by the last known catalogue.
            return Known(serving, None, self._clock())
        # The clock is read after the state: what was acknowledged before lies before it.
        return Known(serving, state, self._clock())

    async def _under_rules(self, known: Known) -> Known:
        """Put the operators' rules over what serves; without the state server, the last ones known."""
        version = ZERO if known.state is None else known.state.version(RULES)
        book, is_read = await self._books.at(known.serving.shop.name, version)
        return replace(known, serving=known.serving.obeying(book), rules_read=is_read)

    async def serving_now(self, shop: str) -> ServingSet:
        """Return what serves with the catalogue as it is now; without a state server that is `ServiceUnreachable`."""
        serving = self._sets.of(shop)
        state = await self.read(serving, NOBODY)
        async with state_errors(), asyncio.timeout(self._settings.write_ms / 1e3):
            return await self._with_catalogue(serving, state.catalogue_version)

    async def read(self, serving: ServingSet, customer_id: str) -> CustomerState:
        """Return a customer's live state as a decision obeys it: words of the lake are there, refusals hold."""
        shop = serving.shop
        state = await self._state.read(shop.name, customer_id, serving.watermarks)
        if not state.knows_words:
            # A server that was emptied: what its customers refused must come back before anything of them is used.
            try:
                await self._words.bring(shop, LAKE_WAIT_SECONDS)
            except (TimeoutError, PondError, OSError) as error:
                raise ServiceUnreachable(f"Consents are not in the live state yet ({error}).") from error
            state = await self._state.read(shop.name, customer_id, serving.watermarks)
        return state.obeying(serving.models.refusals.at_of(state.customer_id))

    async def _with_catalogue(self, serving: ServingSet, version: str) -> ServingSet:
        """Return the serving set with the catalogue at `version` at least; several requests fetch it once."""
        wanted = id_key(version)
        if id_key(serving.catalogue) >= wanted:
            return serving
        shop = serving.shop.name
        async with self._catalogue_locks[shop]:
            current = self._sets.of(shop)
            # The customer was read above this release's watermark, so a release swapped in meanwhile must wait.
            base = current if current.release_id == serving.release_id else serving
            if id_key(base.catalogue) >= wanted:
                return base
            return self._sets.refresh(await with_live_catalogue(base, self._state))

    async def _log(self, shop: str, decision: Decision, *, is_reachable: bool) -> Outcome:
        if is_reachable:
            try:
                return await self._state.log_decision(shop, decision)
            except (ServiceUnreachable, StorageFull):
                pass
        self._metrics.count_spooled(shop)
        await self._spool.append(shop, decision.row())
        return "stored"

    async def replay_spool(self) -> int:
        """Put the decisions made while the state server was away into the journal; return how many.

        Those of a customer who was erased since are refused there, and go with their file.
        """

        async def log(shop: str, row: Mapping[str, Any]) -> None:
            kept = {name: row[name] for name in ("decision_id", "customer_id", "at", "scene", "release")}
            await self._state.log_decision(shop, Decision(**kept, body=row["body"].encode()))

        if self._spool.is_empty:
            return 0
        await self._state.ping()
        return await self._spool.replay(log)


async def with_live_catalogue(serving: ServingSet, state: LiveState) -> ServingSet:
    """Return a serving set with all changes of items that the journal has above its catalogue."""
    more = True
    while more:
        found = await state.catalogue_changes(serving.shop.name, serving.catalogue)
        rows = {
            kind: list({e.row[f"{kind.name}_id"]: e.row for e in found.changes if e.type is entry}.values())
            for kind, entry in TYPE_OF.items()
        }
        serving, more = serving.with_changes(rows, found.version), found.more
    return serving


def _shows_contents(command: Command, serving: ServingSet) -> bool:
    """Whether contents may be in the answer: only then does it pay for a look at the pulse."""
    recipe, name = serving.storefront.pipeline.scenes.get(command.scene), ItemKind.content.name
    is_mixed_in = command.mix.get(name, 0) > 0 or bool(recipe and recipe.mix.get(name))
    return kind_of(command.scene) is ItemKind.content or is_mixed_in


def _may_explore(command: Command, known: Known) -> bool:
    """Whether places of this answer may be drawn by chance: not in a mixed slate, whose places are not a list's own.

    Nor where the answer would not say with which probability: bundles, which are put together, and groups.
    """
    recipe = known.serving.storefront.pipeline.scenes.get(command.scene)
    is_mixed = bool(command.mix) or bool(recipe and recipe.mix)
    return not is_mixed and command.group is None and kind_of(command.scene) is not ItemKind.bundle


def _share_of(decision_id: str) -> float:
    return stable_hash(f"explore:{decision_id}") / _FULL_HASH


def _chosen(command: Command, known: Known, seed: int | None, tastes: GroupTastes | None) -> tuple[Slate, float]:
    """Ask the storefront, for a group through its members' tastes; with the share of members who find theirs."""
    request = _request(command, known, None if command.group else seed)
    if command.group is None:
        return known.serving.storefront.recommend(request), 0.0
    if tastes is None or not tastes.lists:
        return known.serving.storefront.recommend(replace(request, scene=NON_PERSONAL_SCENE)), 0.0
    return tastes.recommend(known.serving, request, command.group.fairness)


def _request(command: Command, known: Known, seed: int | None) -> Request:
    front, kind = known.serving.storefront, kind_of(command.scene)
    is_lost = known.state is None and not command.seeds and kind is ItemKind.product
    idxs = front.ids(kind).idxs
    return Request(
        _query(command, known), NON_PERSONAL_SCENE if is_lost else command.scene, command.k,
        front.items.idxs(command.basket), idxs(command.exclude), idxs(command.pins), command.filters, explore_seed=seed,
        mix={ItemKind[name]: share for name, share in command.mix.items()},
        exclude_others={of: front.ids(of).idxs(command.exclude) for of in ItemKind if of is not kind},
        content=command.content, bundle=command.bundle,
    )  # fmt: skip


def _query(command: Command, known: Known) -> Query:
    models, items = known.serving.models, known.serving.items
    seeds = items.idxs(command.seeds)
    state = known.state
    if state is None or not state.is_personal or command.customer_id is None:
        return replace(models.query(-1, known.now, seeds=seeds), channel=command.channel)
    # A clock that runs ahead must not hide what was acknowledged: it has happened by now.
    tails = {kind: state.history(kind, known.serving.storefront.ids(kind).idx, models.timezone) for kind in ItemKind}
    tails = {kind: replace(tail, at=np.minimum(tail.at, known.now - 1)) for kind, tail in tails.items()}
    shown = {kind: state.shown(kind, known.serving.storefront.ids(kind).idx, models.timezone) for kind in ItemKind}
    tail = tails[ItemKind.product].then(_seen(command, known))
    person = models.person((state.customer_id, *state.other_ids))
    query = models.query(person[0] if person else -1, known.now, tail, seeds, person[1:], tails)
    return replace(query, attributes=attributes_known(models, state), channel=command.channel, shown=shown)


def attributes_known(models: Models, state: CustomerState) -> dict[str, str]:
    """Return a customer's attributes: as they came in live, else as trained, else those of another id of his."""
    if state.attributes is not None:
        return attributes_of(state.attributes.get("attributes"))
    own, *others = (models.attributes(models.customers.ids.idx(name)) for name in (state.customer_id, *state.other_ids))
    if not own and state.attributes_of_others is not None:
        return attributes_of(state.attributes_of_others.get("attributes"))
    return next(filter(None, (own, *others)), {})


def _seen(command: Command, known: Known) -> History:
    """Take what the request says was just looked at as views of this moment."""
    n = len(seen := known.serving.items.idxs(command.recent))
    if not n:
        return EMPTY
    return History(
        seen, np.full(n, known.now - 1, np.int64), np.full(n, EventKind.view, np.uint8), np.ones(n, np.float32),
        np.full(n, np.nan, np.float32), np.full(n, -1, np.int32),
    )  # fmt: skip


def _notes(command: Command, known: Known) -> list[str]:
    """What the service itself could not do as well as it should."""
    notes = []
    if known.state is None:
        notes.append(UNREACHABLE)
    elif known.state.status is Status.off:
        notes.append(SWITCHED_OFF)
    ids = known.serving.storefront.ids(kind_of(command.scene))
    unknown = [item_id for item_id in command.pins if ids.idx(item_id) < 0]
    if unknown:
        notes.append(f"pinned but not in the catalogue: {', '.join(unknown)}")
    if command.mix and kind_of(command.scene) is not ItemKind.product:
        notes.append(f"mix: the scene {command.scene} shows one kind of item; ask a scene of products")
    if not known.rules_read:
        notes.append("the rules could not be read: the last ones known hold")
    return notes


def _causes(command: Command, known: Known, slate: Slate) -> list[str]:
    """Name what degraded an answer by a few stable words, for counting."""
    causes = ["unreachable"] if known.state is None else []
    if known.state is not None and known.state.status is Status.off:
        causes.append("personalization_off")
    if slate.degraded:
        causes.append("pipeline")
    if len(slate.picks) < command.k:
        causes.append("short")
    return causes


def _answer(decision_id: str, command: Command, known: Known, slate: Slate) -> RecommendAnswer:
    front = known.serving.storefront
    items = [
        ItemOut(
            item_kind=pick.kind.name, item_id=front.text(pick), score=pick.score, stage=pick.stage,
            reason=ReasonOut(code=pick.reason.code, zh=pick.reason.zh, en=pick.reason.en),
            content=_content(front, pick),
            bundle=None if pick.bundle is None else bundle_out(pick.bundle, front.items),
        )
        for pick in slate.picks
    ]  # fmt: skip
    return RecommendAnswer(
        decision_id=decision_id, items=items, variants={}, degraded=_notes(command, known) + list(slate.degraded),
        release=known.serving.release_id,
    )  # fmt: skip


def _content(front: Storefront, pick: Pick) -> ContentOut | None:
    if pick.kind is not ItemKind.content:
        return None
    told = front.contents.table.contents[pick.item_idx] or NOTHING_TOLD
    return ContentOut(form=told.form, title=told.title, product_ids=list(told.product_ids))


def _wire(command: Command, known: Known) -> Mapping[str, Any]:
    """Return the request as it is logged: without the id of a customer who was erased."""
    if known.state is None or known.state.status is not Status.gone:
        return command.wire
    return {name: value for name, value in command.wire.items() if name != "customer_id"}


def _body(
    command: Command, known: Known, slate: Slate, answer: RecommendAnswer, explore: Mapping[str, Any]
) -> bytes:  # fmt: skip
    """Everything a replay needs to make the slate again, and the slate itself (DESIGN §4, step 9)."""
    state, manifest = known.state, known.serving.release.manifest
    places = [
        {**item.model_dump(exclude_none=True), "propensity": pick.propensity}
        for item, pick in zip(answer.items, slate.picks, strict=True)
    ]
    said = {
        "request": _wire(command, known), "now": known.now, "release": manifest.release_id,
        "config": manifest.config_digest,
        "catalogue": known.serving.catalogue, "pulse": known.serving.pulse, "read": None if state is None else {
            "status": state.status.value, "epoch": state.epoch, "last_id": state.last_id,
            "versions": {name.decode(): value.decode() for name, value in state.versions.items()},
        },
        "rules": {"version": known.serving.storefront.rules.version, "held": slate.rules},
        "learn": known.may_learn, "explore": explore, "assignments": {}, "variants": answer.variants,
        "degraded": answer.degraded, "slate": places,
    }  # fmt: skip
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
