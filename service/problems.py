"""Errors over HTTP: the one place that knows status codes (RFC 9457, `application/problem+json`).

    PondError
    ├── UsageError
    │   ├── UnknownScene     the shop has no scene of that name
    │   ├── LimitExceeded    more was asked for than this service allows
    │   ├── NotKept          no such decision, product … is known
    │   ├── Erased           the customer was erased on request
    │   ├── CannotMerge      two ids that cannot become one person
    │   └── CannotUnmerge    one person cannot be taken apart again
    ├── RateExceeded         the key has had as many requests as its rate allows
    ├── NothingStored        every event of a batch was refused
    ├── NoRelease            the shop has no release that can serve yet
    └── TooBusy              the worker has as many requests as it takes

An answer never shows a traceback, a path or a value of the request; the log has them under the request id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from features.errors import (
    ArtifactCorrupt,
    ContractError,
    PondError,
    ReleaseError,
    ServiceUnreachable,
    StorageFull,
    UnknownShop,
    UsageError,
)  # fmt: skip
from models.audience.aim import UnknownAim
from service.auth import NotAllowed, NotAuthenticated
from service.faults import UNREADABLE_JSON, field_of, sentence_of
from service.schemas import EventResult, Problem

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 1
MOST_ERRORS: Final = 20


class UnknownScene(UsageError):
    """The shop has no scene of that name."""

    def __init__(self, scenes: Sequence[str]) -> None:
        self.scenes = sorted(scenes)
        super().__init__(f"There is no such scene in this shop's release; use one of {', '.join(self.scenes)}.")


class LimitExceeded(UsageError):
    """More was asked for than this service allows."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} is at most {limit} here; ask for less.")


class NotKept(UsageError):
    """No such decision, product or customer is known."""

    def __init__(self, what: str) -> None:
        super().__init__(f"No such {what} is kept here; check the id.")


class Erased(UsageError):
    """The customer was erased on request; nothing more is kept of him."""

    def __init__(self) -> None:
        super().__init__("This customer was erased on request; nothing more is kept under this id.")


class CannotMerge(UsageError):
    """Two ids that cannot become one person."""


class CannotUnmerge(UsageError):
    """One person cannot be taken apart again."""

    def __init__(self) -> None:
        super().__init__(
            "Ids that became one person stay one: history, consent and limits of both are one since and cannot be "
            "told apart. If it was a mistake, erase the customer and let each begin anew under another id."
        )


class NothingStored(PondError):
    """Every event of a batch was refused; `results` says why, one by one."""

    def __init__(self, results: Sequence[EventResult]) -> None:
        self.results = list(results)
        conflicts = sum(result.result == "conflict" for result in results)
        self.is_conflict = conflicts > 0
        super().__init__(
            f"None of the {len(results)} events was stored ({conflicts} with an id that a different event has); "
            "see `results` for each."
        )


class NoRelease(ReleaseError):
    """The shop has no release that can serve yet."""

    def __init__(self, shop: str) -> None:
        super().__init__(f"The shop '{shop}' has no release that can serve; run `pond train --shop {shop}`.")


class TooBusy(PondError):
    """The worker has as many requests as it takes."""

    def __init__(self) -> None:
        super().__init__("This worker is at its limit; try again in a moment.")


class RateExceeded(PondError):
    """The key has had as many requests as its rate allows; `seconds` until the next is let in."""

    def __init__(self, rate: float, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"This key may send {rate:g} requests a second; wait {seconds} s, or send batches.")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a class of errors is told: status, stable code, title, and whether trying again later makes sense."""

    status: int
    code: str
    title: str
    retry: bool = False
    hides_detail: bool = False


# The first class along an error's ancestry that is named here decides.
KINDS: Final[dict[type[BaseException], Kind]] = {
    NotAuthenticated: Kind(401, "unauthenticated", "No valid key"),
    NotAllowed: Kind(403, "forbidden", "The key does not allow this"),
    UnknownScene: Kind(404, "unknown_scene", "No such scene"),
    UnknownAim: Kind(404, "unknown_aim", "Nothing to seek an audience for"),
    NotKept: Kind(404, "not_found", "Not found"),
    Erased: Kind(410, "erased", "Erased on request"),
    CannotMerge: Kind(409, "cannot_merge", "The two cannot become one customer"),
    CannotUnmerge: Kind(409, "cannot_unmerge", "One person is not taken apart again"),
    UnknownShop: Kind(404, "unknown_shop", "No such shop"),
    LimitExceeded: Kind(422, "limit_exceeded", "Too much asked for"),
    UsageError: Kind(400, "usage", "The request makes no sense"),
    ContractError: Kind(422, "contract", "Data that breaks the contract"),
    NothingStored: Kind(422, "nothing_stored", "No event was stored"),
    NoRelease: Kind(503, "no_release", "No release to serve with", retry=True),
    ArtifactCorrupt: Kind(503, "release_corrupt", "A file is damaged", hides_detail=True),
    ReleaseError: Kind(409, "release", "The release cannot be used"),
    StorageFull: Kind(503, "storage_full", "No space left", retry=True),
    ServiceUnreachable: Kind(503, "state_unreachable", "The state server does not answer", retry=True),
    TooBusy: Kind(503, "busy", "Too many requests at once", retry=True),
    RateExceeded: Kind(429, "rate_exceeded", "Too many requests a second"),
    PondError: Kind(500, "internal", "Something went wrong here", hides_detail=True),
}

_OF_STATUS: Final = {
    400: Kind(400, "unreadable", "The request cannot be read"),
    401: Kind(401, "unauthenticated", "No valid key"),
    403: Kind(403, "forbidden", "The key's role does not allow this"),
    404: Kind(404, "no_such_path", "No such path"),
    405: Kind(405, "method_not_allowed", "The path knows another method"),
    408: Kind(408, "body_too_slow", "The body did not come in time"),
    413: Kind(413, "body_too_large", "The body is too large"),
    415: Kind(415, "unsupported_media_type", "The body is of another type"),
}
_DETAILS: Final = {
    "unreadable": "Send a JSON body with the header Content-Type: application/json.",
    "no_such_path": "See /docs for the paths there are.",
    "method_not_allowed": "See /docs for the methods of this path.",
    "body_too_slow": "Send the whole body at once, with its true Content-Length.",
    "body_too_large": "Send it in smaller parts.",
    "unsupported_media_type": "Send JSON as UTF-8 with the header Content-Type: application/json and no "
    "Content-Encoding.",
    "internal": "This is our mistake, not yours; the log has the details under the request id.",
    "release_corrupt": "A file of the release or the lake is damaged; the operator finds its name in the log.",
}


def kind_of(error: BaseException) -> Kind:
    """Return how an error is told: by the nearest ancestor that has an entry."""
    if isinstance(error, NothingStored) and error.is_conflict:
        return Kind(409, "event_conflict", "The id belongs to another event")
    return next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), KINDS[PondError])


def problem_of(error: BaseException, request_id: str = "") -> Problem:
    """Return the body that tells an error."""
    if isinstance(error, ValidationError | RequestValidationError):
        return _invalid(error, request_id)
    kind = _of_http(error) if isinstance(error, HTTPException) else kind_of(error)
    detail = _DETAILS.get(kind.code, kind.title) if kind.hides_detail or kind.code in _DETAILS else str(error)
    more: dict[str, Any] = {}
    if isinstance(error, UnknownScene):
        more["scenes"] = error.scenes
    if isinstance(error, NothingStored):
        more["results"] = error.results
    if isinstance(error, RateExceeded):
        more["retry_after"] = error.seconds
    return _told(kind, detail, request_id, **more)


def _told(kind: Kind, detail: str, request_id: str, **more: Any) -> Problem:
    return Problem(
        type=f"urn:pond:problem:{kind.code}", title=kind.title, status=kind.status, code=kind.code, detail=detail,
        request_id=request_id, **more,
    )  # fmt: skip


def problem_of_status(status: int, detail: str) -> Problem:
    """Return the body that tells an error that has no class because no application saw the request."""
    return _told(_OF_STATUS[status], detail, "")


def _of_http(error: HTTPException) -> Kind:
    return _OF_STATUS.get(error.status_code, Kind(error.status_code, "http", "The request cannot be served"))


def _invalid(error: ValidationError | RequestValidationError, request_id: str) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return _told(_OF_STATUS[400], UNREADABLE_JSON, request_id)
    errors = [{"field": field_of(one["loc"]), "message": sentence_of(one)} for one in found[:MOST_ERRORS]]
    kind = Kind(422, "invalid_request", "The request does not fit its schema")
    more = f" (and {len(found) - 1} more: see `errors`)" if len(found) > 1 else ""
    return _told(kind, f"{errors[0]['field'] or 'body'}: {errors[0]['message']}{more}; /docs has the schema.",
                 request_id, errors=errors)  # fmt: skip


def answered(problem: Problem, more: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Return a problem as a response; `more` are headers that belong to it, such as `Allow`."""
    headers = dict(more)
    if problem.status in (429, 503):
        headers["Retry-After"] = str(problem.retry_after or RETRY_SECONDS)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = problem.model_dump_json(exclude_defaults=True)
    return Response(body.encode("utf-8", "replace"), problem.status, headers, MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""
    log = structlog.get_logger("pond.service")

    def expected(request: Request, error: Exception) -> Response:
        told = HTTPException(415) if _is_of_another_type(request, error) else error
        problem = problem_of(told, getattr(request.state, "request_id", ""))
        if problem.status >= 500:
            log.warning("problem", code=problem.code, error=str(error)[:500])
        return answered(problem, (getattr(error, "headers", None) or {}) if problem.status == 405 else {})

    for cls in (PondError, RequestValidationError, HTTPException):
        app.add_exception_handler(cls, expected)


def _is_of_another_type(request: Request, error: Exception) -> bool:
    """Whether a body was not read as JSON because it does not say that it is."""
    if not isinstance(error, RequestValidationError) or not any(tuple(e["loc"]) == ("body",) for e in error.errors()):
        return False
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind.startswith("application/") and kind.endswith(("/json", "+json"))
    return not is_json and request.headers.get("content-length", "") != "0"


# For OpenAPI: what any path may answer besides success.
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": text, "content": {MEDIA_TYPE: {}}}
    for status, text in {
        400: "The body or the path cannot be read.", 401: "No valid key.", 403: "The key's role does not allow this.",
        413: "The body is too large.", 415: "The body is not JSON.", 422: "The request does not fit its schema.",
        429: "The key has had as many requests as its rate allows; try again after `Retry-After` seconds.",
        503: "The state server, the release or the worker cannot serve now; try again after `Retry-After` seconds.",
    }.items()
}  # fmt: skip
