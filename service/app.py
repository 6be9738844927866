"""The application: routes, errors and the door put together; `python -m service.app` is one worker process."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.child import end_with_parent, told_by_parent
from service.door import Door
from service.live_state import now_us
from service.observe import Metrics, configure_logs, telemetry
from service.problems import MEDIA_TYPE, install_problems
from service.protocol import PlainProtocol
from service.routes import admin, audiences, catalogue, customers, decisions, events, health, personal, rules
from service.schemas import EventIn
from service.settings import ServiceSettings
from service.worker import LifespanState, opened_worker

TITLE: Final = "Pond"
VERSION: Final = "1"
DESCRIPTION: Final = """The personalization engine for shops that own their customers.

Every call needs a key (`Authorization: Bearer pond_<id>_<secret>`, from `pond keys create`); the shop comes from the
key. Errors are `application/problem+json` with a stable `code`. An id in a path is percent-encoded as one segment
(`encodeURIComponent`), so that `a/consent` is `/v1/customers/a%2Fconsent`. Every answer is logged with its
probability: send its `decision_id` with the events that follow.
"""
GRACE_SECONDS: Final = 10


def create_app(settings: ServiceSettings, clock: Callable[[], int] = now_us) -> FastAPI:
    """Build the application; nothing is opened before its lifespan begins."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[LifespanState]:
        async with opened_worker(settings, metrics, clock) as worker:
            yield {"worker": worker}

    app = FastAPI(
        title=TITLE, version=VERSION, description=DESCRIPTION, lifespan=lifespan,
        telemetry=telemetry(settings.otlp_endpoint), redirect_slashes=False,
    )  # fmt: skip
    # Personal before customers: `/customers/{id:path}` would take `…/data` for a part of the id.
    for theme in (decisions, audiences, events, catalogue, personal, customers, rules, admin, health):
        app.include_router(theme.router)
    install_problems(app)
    app.add_middleware(Door, metrics=metrics, settings=settings)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's own way to extend the document
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document; events are read one by one, so their schema is added by hand."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        event = EventIn.model_json_schema(ref_template="#/components/schemas/{model}")
        made["components"]["schemas"]["EventIn"] = event
        made["components"]["schemas"].pop("HTTPValidationError", None)
        made["components"]["schemas"].pop("ValidationError", None)
        for response in (r for path in made["paths"].values() for m in path.values() for r in m["responses"].values()):
            _say_how_problems_come(response)
        app.openapi_schema = made
    return app.openapi_schema


def _say_how_problems_come(response: dict[str, Any]) -> None:
    """Put the schema of a problem under its own media type, where FastAPI would say JSON."""
    content = response.get("content", {})
    told = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    if told.endswith("/Problem"):
        response["content"] = {MEDIA_TYPE: content["application/json"]}


def run_worker(settings: ServiceSettings, listening: socket.socket) -> None:
    """Serve on a socket that all workers share, until SIGTERM; requests that have begun are finished."""
    configure_logs(settings.home)
    uvicorn.Server(server_config(create_app(settings))).run(sockets=[listening])


def server_config(app: FastAPI) -> uvicorn.Config:
    """Return how the server below the application is set up."""
    return uvicorn.Config(
        app, loop="uvloop", http=PlainProtocol, lifespan="on", log_config=None, access_log=False,
        server_header=False, date_header=True, timeout_graceful_shutdown=GRACE_SECONDS, ws="none",
    )  # fmt: skip


def main() -> None:
    """Be one worker of a supervisor."""
    told = told_by_parent()
    end_with_parent()
    run_worker(ServiceSettings.model_validate(told["settings"]), socket.socket(fileno=told["socket"]))


if __name__ == "__main__":
    main()
