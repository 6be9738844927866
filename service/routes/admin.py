"""Releases: which there are, which serves, promote, roll back."""

from typing import Annotated, Final

from fastapi import APIRouter, Path

from service.access import Admin, AnyWorker
from service.problems import RESPONSES
from service.records import ReleasesOut
from service.schemas import Problem

router: Final = APIRouter(
    prefix="/v1/admin", tags=["admin"],
    responses=RESPONSES | {409: {"model": Problem, "description": "There is no such release to serve."}},
)  # fmt: skip


@router.get("/releases", summary="All releases")
async def list_releases(worker: AnyWorker, caller: Admin) -> ReleasesOut:
    """Return all complete releases, oldest first, and which of them serves."""
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
