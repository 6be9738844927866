"""Asking for slates, and for why one was shown."""

import asyncio
from typing import Final

import structlog
from fastapi import APIRouter
from pydantic import BaseModel

from features.errors import PondError
from service.access import AnyWorker, Backend, Operator
from service.addressing import IdRoute
from service.bundle_schemas import BundlesRequest
from service.command import Command
from service.content_schemas import ContentRequest
from service.decide import UNREACHABLE
from service.problems import RESPONSES, LimitExceeded, problem_of
from service.records import DecisionOut
from service.schemas import (
    BatchAnswer,
    BatchEntry,
    BatchRequest,
    Id,
    Problem,
    RecommendAnswer,
    RecommendRequest,
    SimilarRequest,
)  # fmt: skip

router: Final = APIRouter(route_class=IdRoute, prefix="/v1", tags=["decisions"], responses=RESPONSES)
_UNKNOWN: Final[dict[int | str, dict[str, type[BaseModel]]]] = {404: {"model": Problem}}


@router.post("/recommend", responses=_UNKNOWN, summary="A personalized slate for one customer")
async def recommend(asked: RecommendRequest, worker: AnyWorker, caller: Backend) -> RecommendAnswer:
    """Answer for a customer in a scene; a customer nobody knows gets what is popular and is told so.

    The answer sees every event that was acknowledged before and every change of stock or status.
    """
    return await worker.decider.decide(caller.shop, Command.of(asked))


@router.post("/recommend/batch", summary="Slates for up to 1,000 customers")
async def recommend_batch(asked: BatchRequest, worker: AnyWorker, caller: Backend) -> BatchAnswer:
    """Answer each question as if it came alone; one that cannot be answered carries its problem."""
    if len(asked.queries) > worker.settings.recommend_batch:
        raise LimitExceeded("The number of questions in a batch", worker.settings.recommend_batch)
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    results: list[BatchEntry] = []
    is_away = False  # a server that hangs is waited for once, not for every question
    for query in asked.queries:
        try:
            answer = await worker.decider.decide(caller.shop, Command.of(query), is_away=is_away)
            is_away = is_away or UNREACHABLE in answer.degraded
            results.append(BatchEntry(answer=answer, problem=None))
        except PondError as error:
            results.append(BatchEntry(answer=None, problem=problem_of(error, request_id)))
        await asyncio.sleep(0)  # requests beside a long batch go on between its questions
    return BatchAnswer(results=results)


@router.post("/similar", summary="Products like the ones named")
async def similar(asked: SimilarRequest, worker: AnyWorker, caller: Backend) -> RecommendAnswer:
    """Answer from the named products alone; with none of them known, with what is popular, and says so."""
    return await worker.decider.decide(caller.shop, Command.of(asked))


@router.post("/content", responses=_UNKNOWN, summary="Articles, videos, live streams and podcasts for one customer")
async def content(asked: ContentRequest, worker: AnyWorker, caller: Backend) -> RecommendAnswer:
    """Answer with what is fresh and fits the customer; never what was read, unless `again` asks for it.

    The answer sees every content that was published before it, and within a second what others are reading.
    """
    return await worker.decider.decide(caller.shop, Command.of(asked))


@router.post("/bundles", summary="Products that go together, as one offer")
async def bundles(asked: BundlesRequest, worker: AnyWorker, caller: Backend) -> RecommendAnswer:
    """Answer with the shop's bundles and with others put together now: around products, a basket, a theme, a customer.

    Every part is in stock, the limits of size, price and margin are kept, and a bundle put together has an id
    `auto-…` that is the same for the same parts: send it with the events that follow.
    """
    return await worker.decider.decide(caller.shop, Command.of(asked))


@router.get("/decisions/{decision_id:path}", responses=_UNKNOWN, summary="Why was this shown?")
async def get_decision(decision_id: Id, worker: AnyWorker, caller: Operator) -> DecisionOut:
    """Return everything a decision was made from, with the score, reason and probability of each place."""
    return await worker.cases.get_decision(caller.shop, decision_id)
