"""Whether the service lives, whether it can serve, and its counts; no key needed."""

from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from features.errors import PondError
from features.shop import list_shops
from models.release_store import DirectoryStore
from service.access import AnyWorker

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
async def ready(worker: AnyWorker, response: Response) -> Ready:
    """Name what is not ready; a state server that is away does not stop answers, so it is named apart."""
    missing: list[str] = []
    degraded: list[str] = []
    for shop in list_shops(worker.settings.home):
        refusal = worker.reloader.refusal(shop.name)
        if worker.sets.release_id(shop.name) is None:
            wanted = refusal.release_id if refusal else DirectoryStore(shop.releases_dir).current_id()
            why = f"release {wanted} cannot be used" if wanted else "no release is promoted"
            (missing if wanted else degraded).append(f"shop {shop.name}: {why}")
        elif refusal is not None:
            degraded.append(f"shop {shop.name}: release {refusal.release_id} was refused, the one before serves")
    if not worker.sets.shops:
        missing.append("no shop has a release that serves")
    try:
        await worker.state.ping()
    except PondError as error:
        degraded.append(f"state: {error}")
    response.status_code = 503 if missing else 200
    return Ready(ready=not missing, missing=missing, degraded=degraded)


@router.get("/metrics", summary="Counts of all workers, for Prometheus", response_class=Response)
async def metrics(worker: AnyWorker) -> Response:
    """Return the text exposition format."""
    return Response(worker.metrics.exposition(), media_type=EXPOSITION)
