"""Customers' profiles and their word on personalization."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from service.access import AnyWorker, Backend
from service.addressing import IdRoute
from service.problems import RESPONSES
from service.records import (
    ConsentIn,
    ConsentsOut,
    CustomerBatch,
    CustomerIn,
    CustomerOut,
    IdentityIn,
    MergedOut,
    MergeIn,
    Stored,
)  # fmt: skip
from service.schemas import Id, Problem

router: Final = APIRouter(
    route_class=IdRoute, prefix="/v1", tags=["customers"], responses=RESPONSES | {
        404: {"model": Problem, "description": "Nothing is known of this customer."},
        410: {"model": Problem, "description": "The customer was erased on request."},
    },
)  # fmt: skip

_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {
    409: {"model": Problem, "description": "They cannot become one person, or not be taken apart; the detail says why."}
}


@router.post("/customers/batch", summary="Up to 1,000 profiles as they are from now on")
async def put_customers(sent: CustomerBatch, worker: AnyWorker, caller: Backend) -> Stored:
    """Store full versions; each customer's next decision sees them."""
    return await worker.cases.put_customers(caller.shop, {one.id: one for one in sent.customers})


@router.put("/customers/{customer_id:path}/consent", summary="A customer's word on what may be done")
async def put_consent(customer_id: Id, said: ConsentIn, worker: AnyWorker, caller: Backend) -> Stored:
    """Store it; with personalization off, the next decision reads nothing of the customer's history."""
    return await worker.cases.put_consent(caller.shop, customer_id, said)


@router.get("/customers/{customer_id:path}/consent", summary="All a customer said about what may be done")
async def get_consents(
    customer_id: Id,
    worker: AnyWorker,
    caller: Backend,
    purpose: Annotated[Id | None, Query(description="Also say whether a message for it may go out.")] = None,
    channel: Annotated[Id | None, Query(description="On which channel; without: on all.")] = None,
) -> ConsentsOut:
    """Return the last words with moment and source; of a customer who said nothing, none."""
    return await worker.cases.get_consents(caller.shop, customer_id, purpose, channel)


@router.post("/customers/{customer_id:path}/merge", responses=_CONFLICT, summary="Two customers are one person")
async def merge_customers(customer_id: Id, sent: MergeIn, worker: AnyWorker, caller: Backend) -> MergedOut:
    """Let this id become another id of the customer `into`: history, attributes, consent and limits follow.

    Of two words on one purpose and channel the stricter holds. Saying it again is harmless.
    """
    return await worker.cases.merge(caller.shop, customer_id, sent.into)


@router.put("/identities/{id_type}/{id_value:path}", responses=_CONFLICT, summary="Another id of a customer")
async def put_identity(
    id_type: Id, id_value: Id, sent: IdentityIn, worker: AnyWorker, caller: Backend
) -> MergedOut:  # fmt: skip
    """Let an id (openid, unionid, member card, phone hash …) mean a customer; what was told under it follows.

    From then on every request may name it wherever a customer_id stands.
    """
    return await worker.cases.merge(caller.shop, id_value, sent.customer_id, id_type)


@router.delete("/identities/{id_type}/{id_value:path}", responses=_CONFLICT, summary="Always refused, with the reason")
async def delete_identity(id_type: Id, id_value: Id, worker: AnyWorker, caller: Backend) -> MergedOut:  # noqa: ARG001 - of the path
    """One person is not taken apart again."""
    return await worker.cases.unmerge(caller.shop, id_value)


@router.put("/customers/{customer_id:path}", summary="A profile as it is from now on")
async def put_customer(customer_id: Id, sent: CustomerIn, worker: AnyWorker, caller: Backend) -> Stored:
    """Store a full version; the customer's next decision sees it."""
    return await worker.cases.put_customers(caller.shop, {customer_id: sent})


@router.get("/customers/{customer_id:path}", summary="What a decision would know of a customer now")
async def get_customer(customer_id: Id, worker: AnyWorker, caller: Backend) -> CustomerOut:
    """Return attributes, consents and recent events."""
    return await worker.cases.get_customer(caller.shop, customer_id)


@router.delete("/customers/{customer_id:path}", summary="Forget a profile")
async def delete_customer(customer_id: Id, worker: AnyWorker, caller: Backend) -> Stored:
    """Replace the profile by an empty one; events stay (erasing a person everywhere is another path)."""
    return await worker.cases.put_customers(caller.shop, {customer_id: CustomerIn()})
