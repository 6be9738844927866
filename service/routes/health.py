"""Whether the service lives, whether it can serve, and its counts; no key needed."""

import hmac
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from features.errors import ContractError, PondError
from features.shop import open_shop, shop_names
from models.release_store import DirectoryStore
from service.access import AnyWorker
from service.worker import Worker

router: Final = APIRouter(tags=["health"])
EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"


class Live(BaseModel):
    """The process answers."""

    live: bool = Field(description="Always true: it answered.")


class Ready(BaseModel):
    """Whether this worker can serve."""

    ready: bool = Field(description="Every shop with a promoted release can be answered.")
    missing: list[str] = Field(description="What keeps it from being ready, in words.")
    degraded: list[str] = Field(description="What is away although answers go on.")


@router.get("/health/live", summary="Does the process live?")
async def live() -> Live:
    """Answer at once."""
    return Live(live=True)


@router.get("/health/ready", summary="Can it serve?", responses={503: {"model": Ready, "description": "Not yet."}})
async def ready(request: Request, worker: AnyWorker, response: Response) -> Ready:
    """Name what is not ready; a state server that is away does not stop answers, so it is named apart."""
    missing: list[str] = []
    degraded: list[str] = []
    for name in shop_names(worker.settings.home):
        missing_here, degraded_here = _of_shop(worker, name)
        missing += missing_here
        degraded += degraded_here
    if not _may_see_shops(request, worker):
        missing, degraded = _without_names(missing), _without_names(degraded)
    if not worker.sets.shops:
        missing.append("no shop has a release that serves")
    try:
        await worker.state.ping()
    except PondError as error:
        degraded.append(f"state: {error}")
    response.status_code = 503 if missing else 200
    return Ready(ready=not missing, missing=missing, degraded=degraded)


def _of_shop(worker: Worker, shop: str) -> tuple[list[str], list[str]]:
    """Return what keeps a shop from being answered, and what is less than it should be although it is."""
    refusal, serves = worker.reloader.refusal(shop), worker.sets.release_id(shop) is not None
    degraded = [f"shop {shop}: release {refusal.release_id} was refused, the one before serves"] if refusal else []
    try:
        opened = open_shop(worker.settings.home, shop)
        if serves:
            return [], degraded
        wanted = refusal.release_id if refusal else DirectoryStore(opened.releases_dir).current_id()
    except (PondError, OSError) as error:
        why = f"shop {shop}: {_in_words(error)}"
        return ([], [*degraded, f"{why} Until then it serves as before"]) if serves else ([why], [])
    if wanted:
        return [f"shop {shop}: release {wanted} cannot be used"], []
    return [], [f"shop {shop}: no release is promoted"]


def _in_words(error: PondError | OSError) -> str:
    """Say what is wrong with a shop's files, without a path of this machine."""
    if not isinstance(error, ContractError):
        return "its files cannot be read, the log says why."
    name = Path(error.table).name
    said = f"{error.column} {error.rule}" if error.column else error.rule
    return f"{name}: {said.replace(error.table, name)}"


def _without_names(lines: list[str]) -> list[str]:
    return [f"{len(lines)} of the shops; their names are for who has the metrics token"] if lines else []


def _may_see_shops(request: Request, worker: Worker) -> bool:
    """Whether who asks may tell the shops apart: one shop's business is nothing another shop should read here."""
    token = worker.settings.metrics_token
    if token is None:
        return worker.settings.is_local
    offered = request.headers.get("authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(offered.encode(), token.encode())


@router.get("/metrics", summary="Counts of all workers, for Prometheus", response_class=Response)
async def metrics(request: Request, worker: AnyWorker) -> Response:
    """Return the text exposition format; shop by shop for who may see that (`POND_METRICS_TOKEN`), else added up."""
    return Response(worker.metrics.exposition(by_shop=_may_see_shops(request, worker)), media_type=EXPOSITION)
