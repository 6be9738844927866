"""Audiences over HTTP: the release says who is likely, the live state says who may be asked, the journal who was.

The order comes from the release; consent, erasure, identity and purchases since are read of every customer on the way
down, so the list is as true as one decision after the other. Nobody is listed whose consent is not known: without a
state server there is no audience.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from features.columns import ItemKind
from features.consents import MARKETING
from features.history import DAY_US
from features.lake import Lake
from features.offers import offered_products
from models.audience.aim import CANNOT_BE_SOLD, NO_PROBABILITIES, Aimed, take_aim
from models.audience.model import AudienceModel, Responses
from models.audience.selection import Member, Selection, expected
from models.revision import is_nobody
from service.audience_schemas import AudienceAnswer, AudienceMember, AudienceRequest
from service.customer_state import CustomerState, Decision, Status
from service.decide import NOBODY, Decider, attributes_known
from service.live_state import LiveState, mint_decision_id
from service.observe import Metrics
from service.problems import LimitExceeded
from service.schemas import ReasonOut
from service.serving_set import ServingSet
from service.settings import ServiceSettings

SCENE: Final = "audience"
AT_ONCE: Final = 16  # reads of the live state side by side; requests need the other connections


@dataclass(frozen=True, eq=False)
class Audiences:
    """One worker's audiences."""

    decider: Decider
    state: LiveState
    settings: ServiceSettings
    metrics: Metrics
    clock: Callable[[], int]
    _lakes: dict[str, Lake] = field(default_factory=dict)

    async def seek(self, shop: str, asked: AudienceRequest) -> AudienceAnswer:
        """Choose who is touched.

        Raises
        ------
        NoRelease, UnknownAim, LimitExceeded
            There is nothing to answer with, or the question makes no sense.
        ServiceUnreachable
            Consent cannot be known.
        """
        rules = asked.rules()
        if (rules.budget.size or 0) > self.settings.audience_max:
            raise LimitExceeded("The number of customers in an audience", self.settings.audience_max)
        serving, now = await self.decider.serving_now(shop), self.clock()
        model = serving.models.part(AudienceModel)
        aim = asked.of_campaign(await self._offered(serving, asked))
        aimed = take_aim(aim, serving.storefront, model.crowd, now)
        # Counting over all customers takes a while in which other requests go on.
        found = await asyncio.to_thread(model.responses, aimed.target, serving.models.histories)
        selection = Selection(found.under(rules))
        seeking = _Seeking(asked, serving, aimed, found, now)
        if aimed.sellable:
            await self._walk(seeking, selection)
        return await self._logged(shop, seeking, selection)

    async def _offered(self, serving: ServingSet, asked: AudienceRequest) -> tuple[str, ...]:
        if asked.aim.kind != "campaign":
            return ()
        lake = self._lakes.setdefault(serving.shop.name, Lake(serving.shop.lake_dir))
        return await asyncio.to_thread(offered_products, lake, asked.aim.id)

    async def _walk(self, seeking: "_Seeking", selection: Selection) -> None:
        for chunk in seeking.chunks(AT_ONCE):
            if selection.is_full:
                return
            ids = [seeking.serving.models.customers.ids.text(idx) for idx in chunk]
            known = [(idx, one) for idx, one in zip(chunk, ids, strict=True) if not is_nobody(one)]
            states = await asyncio.gather(*(self.decider.read(seeking.serving, one) for _, one in known))
            for (idx, _), state in zip(known, states, strict=True):
                seeking.offer(idx, state, selection)

    async def _logged(self, shop: str, seeking: "_Seeking", selection: Selection) -> AudienceAnswer:
        """Write the list and everybody's part in it to the journal, then answer; who was erased meanwhile is not in it.

        The list's own entry names nobody, so that erasing a customer is taking his entry away.
        """
        asked, release = seeking.asked, seeking.serving.release_id
        list_id = mint_decision_id(NOBODY, self.state.partitions)
        head = Decision(list_id, NOBODY, seeking.now, SCENE, release, seeking.body(selection))
        await self.state.log_decision(shop, head)
        members: list[tuple[Member, str]] = [(one, "") for one in selection.listed]
        held_out = len(selection.held_out)
        if not asked.for_analysis:
            members = await self._log_each(shop, seeking, selection.listed, list_id, "listed")
            held_out = len(await self._log_each(shop, seeking, selection.held_out, list_id, "held_out"))
        self.metrics.count_answer(shop, SCENE, ["audience"] * len(members), ["short"] * (not selection.is_full))
        return seeking.answer(list_id, members, held_out, selection)

    async def _log_each(
        self, shop: str, seeking: "_Seeking", members: Sequence[Member], list_id: str, part: str
    ) -> list[tuple[Member, str]]:  # fmt: skip
        share, kept = seeking.asked.rules().holdout_share, []
        odds = share if part == "held_out" else 1.0 - share
        for start in range(0, len(members), AT_ONCE):
            some = members[start : start + AT_ONCE]
            decisions = []
            for one in some:
                said = {"audience": list_id, "part": part, "propensity": odds, "probability": one.probability}
                decisions.append(
                    Decision(
                        mint_decision_id(one.customer_id, self.state.partitions),
                        one.customer_id,
                        seeking.now,
                        SCENE,
                        seeking.serving.release_id,
                        orjson.dumps(said, option=orjson.OPT_SORT_KEYS),
                    )
                )
            outcomes = await asyncio.gather(*(self.state.log_decision(shop, decision) for decision in decisions))
            kept += [
                (one, decision.decision_id)
                for one, decision, outcome in zip(some, decisions, outcomes, strict=True)
                if outcome != "rejected"
            ]
        return kept


@dataclass(frozen=True, eq=False, slots=True)
class _Seeking:
    """One request on its way: what was asked, by what it is answered, at which moment (UTC µs)."""

    asked: AudienceRequest
    serving: ServingSet
    aimed: Aimed
    found: Responses
    now: int

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Yield customers, the most likely first, a few at a time."""
        order = self.found.order.tolist()
        yield from (order[start : start + size] for start in range(0, len(order), size))

    def offer(self, idx: int, state: CustomerState, selection: Selection) -> None:
        """Let a customer into the list when he may be."""
        why = self._refused(idx, state)
        if why:
            selection.refuse(why)
            return
        member = Member(idx, state.customer_id, float(self.found.score[idx]))
        selection.offer(member, attributes_known(self.serving.models, state))

    def _refused(self, idx: int, state: CustomerState) -> str:
        """Name what keeps a customer out of the list, consent first; empty: nothing does."""
        asked = self.asked
        if state.status is Status.gone:
            return "erased"
        if not state.is_personal:
            return "personalization_off"
        if not asked.for_analysis and not state.may_touch(MARKETING, asked.channel or ""):
            return "no_marketing_consent"
        named = {state.customer_id, self.serving.models.customers.ids.text(idx), *state.other_ids}
        if not named.isdisjoint(asked.exclude):
            return "named"
        return "bought_lately" if asked.bought_days is not None and self._bought(idx, state) else ""

    def _bought(self, idx: int, state: CustomerState) -> bool:
        since = self.now - (self.asked.bought_days or 0) * DAY_US
        models, ids = self.serving.models, self.serving.storefront.ids(ItemKind.product)
        tail = state.history(ItemKind.product, ids.idx, models.timezone).purchases
        histories = (models.histories.of(one).purchases for one in {idx, *models.person(state.other_ids)})
        return any(
            bool((np.isin(each.item_idx, self.aimed.item_idx) & (each.at >= since)).any())
            for each in (tail, *histories)
        )

    def body(self, selection: Selection) -> bytes:
        """What is logged of the list: everything but who is in it."""
        asked, manifest = self.asked, self.serving.release.manifest
        said: dict[str, Any] = {
            "request": asked.model_dump(mode="json", exclude_defaults=True, exclude={"exclude"}),
            "named": len(asked.exclude), "now": self.now, "release": manifest.release_id,
            "config": manifest.config_digest, "catalogue": self.serving.catalogue, "listed": len(selection.listed),
            "held_out": len(selection.held_out), "left_out": dict(selection.left_out), "degraded": self.notes,
        }  # fmt: skip
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)

    @property
    def notes(self) -> list[str]:
        """What is known less well than it should be."""
        notes = [*self.aimed.notes, *([] if self.found.is_probability else [NO_PROBABILITIES])]
        return notes if self.aimed.sellable else [*notes, CANNOT_BE_SOLD]

    def answer(
        self, list_id: str, members: Sequence[tuple[Member, str]], held_out: int, selection: Selection
    ) -> AudienceAnswer:  # fmt: skip
        """Put the answer together."""
        model, cost = self.serving.models.part(AudienceModel), self.asked.budget.cost
        learned = self.found.is_probability
        customers = []
        for one, decision_id in members:
            why = self.found.reason_for(one.customer_idx, (self.now - self.serving.models.as_of) / DAY_US)
            customers.append(
                AudienceMember(
                    customer_id=one.customer_id,
                    decision_id=decision_id,
                    probability=one.probability if learned else None,
                    reason=ReasonOut(code=why.code, zh=why.zh, en=why.en),
                )
            )
        return AudienceAnswer(
            decision_id=list_id, customers=customers, held_out=held_out, left_out=dict(selection.left_out),
            expected_responses=expected([one for one, _ in members]) if learned else None,
            spent=None if cost is None else cost * len(customers), horizon_days=model.horizon_days,
            for_analysis=self.asked.for_analysis, degraded=self.notes, release=self.serving.release_id,
        )  # fmt: skip
