"""Taking events in."""

from typing import Final

from fastapi import APIRouter, Response

from service.access import AnyWorker, Backend
from service.addressing import IdRoute
from service.problems import RESPONSES
from service.schemas import EventsAnswer, EventsRequest, Problem

router: Final = APIRouter(route_class=IdRoute, prefix="/v1", tags=["events"], responses=RESPONSES)


@router.post(
    "/events", status_code=202, summary="Tell what happened", responses={
        207: {"model": EventsAnswer, "description": "Some events were refused; the others are stored."},
        409: {"model": Problem, "description": "Every event was refused, one at least for an id that another has."},
    },
)  # fmt: skip
async def take_events(sent: EventsRequest, worker: AnyWorker, caller: Backend, response: Response) -> EventsAnswer:
    """Store up to 10,000 events; stored means: on disk, and seen by the customer's next decision on any worker.

    Sending the same events again is harmless: an `event_id` counts once.
    """
    answer = await worker.cases.take_events(caller.shop, sent.events)
    if any(result.result in ("invalid", "conflict", "erased") for result in answer.results):
        response.status_code = 207
    return answer
