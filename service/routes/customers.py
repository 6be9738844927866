"""Customers' profiles and their word on personalization."""

from typing import Final

from fastapi import APIRouter

from service.access import AnyWorker, Backend
from service.problems import RESPONSES
from service.records import ConsentIn, CustomerBatch, CustomerIn, CustomerOut, Stored
from service.schemas import Id, Problem

router: Final = APIRouter(
    prefix="/v1", tags=["customers"], responses=RESPONSES | {
        404: {"model": Problem, "description": "Nothing is known of this customer."},
        410: {"model": Problem, "description": "The customer was erased on request."},
    },
)  # fmt: skip


@router.post("/customers/batch", summary="Up to 1,000 profiles as they are from now on")
async def put_customers(sent: CustomerBatch, worker: AnyWorker, caller: Backend) -> Stored:
    """Store full versions; each customer's next decision sees them."""
    return await worker.cases.put_customers(caller.shop, {one.id: one for one in sent.customers})


@router.put("/customers/{customer_id:path}/consent", summary="A customer's word on what may be done")
async def put_consent(customer_id: Id, said: ConsentIn, worker: AnyWorker, caller: Backend) -> Stored:
    """Store it; with personalization off, the next decision reads nothing of the customer's history."""
    return await worker.cases.put_consent(caller.shop, customer_id, said)


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
