"""Whom to ask: audiences, and what to post in a group."""

from typing import Any, Final

from fastapi import APIRouter

from service.access import AnyWorker, Backend
from service.addressing import IdRoute
from service.audience_schemas import AudienceAnswer, AudienceRequest, GroupRequest
from service.groups import GroupWishes
from service.problems import RESPONSES
from service.schemas import Id, Problem, RecommendAnswer

router: Final = APIRouter(route_class=IdRoute, prefix="/v1", tags=["audiences"], responses=RESPONSES)
_UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem, "description": "Nothing of this id is known."}
}


@router.post("/audience", responses=_UNKNOWN, summary="The customers most likely to want something now")
async def seek_audience(asked: AudienceRequest, worker: AnyWorker, caller: Backend) -> AudienceAnswer:
    """Choose under a budget whom to tell of a product, category, bundle, content or campaign.

    Who refused personalization is in no list, and without a marketing consent nobody is, unless the list is for
    analysis. Each customer's part, listed or held out, is logged with its probability.
    """
    return await worker.audiences.seek(caller.shop, asked)


@router.post("/groups/{group_id:path}/recommend", responses=_UNKNOWN, summary="What to post in a group")
async def recommend_to_group(
    group_id: Id, asked: GroupRequest, worker: AnyWorker, caller: Backend
) -> RecommendAnswer:  # fmt: skip
    """Choose products for all members, from their tastes together; nothing that one member alone explains.

    With too few members who take part, or without a state server, what is popular, and says so.
    """
    said = worker.settings
    members = None if asked.members is None else tuple(asked.members)
    wishes = GroupWishes(group_id, asked.fairness, members, said.group_least, said.group_members)
    return await worker.decider.decide(caller.shop, asked.command(wishes))
