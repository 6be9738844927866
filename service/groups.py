"""Groups: who is in one now, who takes part in what is posted there, and the lists of those who do.

Members are customers whose profile names the group, as the release knows it or as it was told live since, or those whom
the request names. Of who has switched personalization off, or was erased, nothing is read; who has no history has no
taste that could count. No name of a member stands in an answer or a log.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from features.arrays import Int32s
from features.columns import ItemKind
from features.ids import stable_hash
from models.groups.answer import depth_of, member_list, recommend_to_group
from models.query import Query
from models.slate import Request, Slate
from models.trained import EntityTable
from service.customer_state import CustomerState
from service.journal import all_partitions
from service.live_state import LiveState, partition_prefix
from service.serving_set import ServingSet
from service.state_client import state_errors

AT_ONCE: Final = 16
TOO_FEW: Final = "too few members of this group take part: nothing of them is shown"
SOME_DRAWN: Final = "of the members {n} were asked, drawn by chance"


@dataclass(frozen=True, slots=True)
class GroupWishes:
    """Which group, who of it, and how its members are weighed.

    Attributes
    ----------
    members : tuple of str or None
        Who is in it now; None: those whose profile names it.
    least, most : int
        With fewer members who take part nothing of them is shown; of more than `most` that many are drawn.
    """

    id: str
    fairness: float
    members: tuple[str, ...] | None
    least: int
    most: int


@dataclass(frozen=True, eq=False, slots=True)
class GroupTastes:
    """The lists of the members who take part, without their names; empty when they are too few."""

    lists: tuple[Int32s, ...]
    notes: tuple[str, ...]

    def recommend(self, serving: ServingSet, request: Request, fairness: float) -> tuple[Slate, float]:
        """Answer for all of them; the share of members who find theirs."""
        return recommend_to_group(serving.storefront, request, self.lists, fairness)


class StateReader(Protocol):
    """Reads one customer as a decision obeys him (`Decider.read`)."""

    async def __call__(self, serving: ServingSet, customer_id: str) -> CustomerState:
        """Return his live state."""
        ...


async def tastes_of(
    state: LiveState, read: StateReader, serving: ServingSet, wishes: GroupWishes, scene: str, at: int
) -> GroupTastes:  # fmt: skip
    """Read the members and ask the scene's sources for each of them, letting other requests go on in between."""
    named = wishes.members or ()
    if wishes.members is None:
        # Some of the release's are in it no more: their live profiles tell, below.
        told = members_of(serving.models.customers, wishes.id)
        named = (*told, *await live_members(state, serving.shop.name, wishes.id))
    ids = sorted(dict.fromkeys(named), key=lambda one: stable_hash(f"{wishes.id}:{one}"))
    lists: dict[str, Int32s] = {}
    front, notes = serving.storefront, [SOME_DRAWN.format(n=wishes.most)] if len(ids) > wishes.most else []
    for start in range(0, len(ids), AT_ONCE):
        states = await asyncio.gather(*(read(serving, one) for one in ids[start : start + AT_ONCE]))
        for one in states:
            if len(lists) >= wishes.most:
                break
            if not one.is_personal or (wishes.members is None and not _is_in(one, serving, wishes.id)):
                continue
            query = _query(serving, one, at)
            if len(query.history):
                recipe = front.pipeline.scenes[scene]
                lists[one.customer_id] = member_list(front.pipeline, recipe, query, depth_of(front.items))
            await asyncio.sleep(0)
    if len(lists) < wishes.least:
        return GroupTastes((), (TOO_FEW,))
    return GroupTastes(tuple(lists.values()), tuple(notes))


async def live_members(state: LiveState, shop: str, group_id: str) -> list[str]:
    """Return the customers whose live profile names a group, in one round trip."""
    prefixes = [partition_prefix(shop, p) for p in all_partitions(state.partitions)[:-1]]
    async with state_errors(), state.client.pipeline(transaction=False) as pipe:
        for prefix in prefixes:
            pipe.execute_command("SMEMBERS", prefix + b"m:" + group_id.encode())
        found: Sequence[Iterable[bytes]] = await pipe.execute()
    return [one.decode() for members in found for one in members]


def members_of(customers: EntityTable, group_id: str) -> list[str]:
    """Return the customers whose profile of the release names a group."""
    if "group_ids" not in customers.frame.columns:
        return []
    inside = customers.frame.filter(pl.col("group_ids").list.contains(group_id))
    return [customers.ids.text(int(idx)) for idx in inside["idx"]]


def _is_in(state: CustomerState, serving: ServingSet, group_id: str) -> bool:
    """Whether a customer's latest profile names the group."""
    for row in (state.attributes, state.attributes_of_others):
        if row is not None:
            return group_id in (row.get("group_ids") or ())
    customers = serving.models.customers
    if "group_ids" not in customers.frame.columns:
        return False
    rows = [customers.ids.idx(one) for one in (state.customer_id, *state.other_ids)]
    return any(group_id in _listed(customers.frame["group_ids"][idx]) for idx in rows if idx >= 0)


def _listed(cell: Any) -> list[str]:
    return [] if cell is None else list(cell)


def _query(serving: ServingSet, state: CustomerState, at: int) -> Query:
    """Return the question of one member: his history and what he did since, nothing of what is on his screen."""
    models = serving.models
    tail = state.history(ItemKind.product, serving.storefront.ids(ItemKind.product).idx, models.timezone)
    person = models.person((state.customer_id, *state.other_ids))
    tail = replace(tail, at=np.minimum(tail.at, at - 1))
    return models.query(person[0] if person else -1, at, tail, also=person[1:])
