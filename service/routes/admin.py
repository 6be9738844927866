"""Releases: which there are, which serves, promote, roll back; and the audit trail."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from service.access import Admin, AnyWorker
from service.addressing import IdRoute
from service.problems import RESPONSES
from service.records import AuditOut, ReleasesOut
from service.schemas import Problem

router: Final = APIRouter(
    route_class=IdRoute, prefix="/v1/admin", tags=["admin"],
    responses=RESPONSES | {409: {"model": Problem, "description": "There is no such release to serve."}},
)  # fmt: skip


@router.get("/audit", summary="Who did what")
async def audit(
    worker: AnyWorker, caller: Admin,
    limit: Annotated[int, Query(ge=1, le=1_000, description="The latest so many.")] = 100,
) -> AuditOut:  # fmt: skip
    """Return what was done to this shop with keys, releases and personal data, newest first."""
    return await worker.cases.audit(caller.shop, limit)


@router.get("/releases", summary="All releases")
async def list_releases(worker: AnyWorker, caller: Admin) -> ReleasesOut:
    """Return all complete releases, oldest first, which of them serves, and which are damaged."""
    return await worker.cases.list_releases(caller.shop)


@router.post("/releases/rollback", summary="Let the release before this one serve again")
async def rollback(worker: AnyWorker, caller: Admin) -> ReleasesOut:
    """Flip the pointer back; workers follow within a second."""
    return await worker.cases.rollback(caller.shop, caller.key_id)


@router.post("/releases/{release_id}/promote", summary="Let a release serve")
async def promote(
    release_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$")], worker: AnyWorker, caller: Admin
) -> ReleasesOut:
    """Flip the pointer; workers follow within a second, or keep the one before when this one is damaged."""
    return await worker.cases.promote(caller.shop, release_id, caller.key_id)
