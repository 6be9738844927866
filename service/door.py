"""The door: what every request passes first and every answer passes last.

Request ids, limits of number and size, secure headers, one log line and the counts; an error nobody expected becomes a
problem without details.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import PondError
from service.addressing import normal_path
from service.observe import Metrics, request_id_of
from service.problems import TooBusy, answered, problem_of
from service.settings import ServiceSettings

LIMITED: Final = "/v1/"
DOCUMENTED: Final = ("/docs", "/redoc")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
# The pages of the documentation load their program, style and pictures from where FastAPI says.
PAGES_POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; connect-src 'self'; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; worker-src blob:; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    "font-src https://fonts.gstatic.com; img-src data: https://fastapi.tiangolo.com https://cdn.redoc.ly"
)


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: ServiceSettings) -> None:
        self._app, self._metrics, self._limit = app, metrics, settings.requests_at_once
        self._body_bytes, self._body_seconds = settings.body_bytes, settings.body_seconds
        self._inside = 0
        self._log = structlog.get_logger("pond.service")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = request_id_of(next(iter(_headers(scope, b"x-request-id")), None))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                is_page = scope["path"].startswith(DOCUMENTED) and status == HTTPStatus.OK
                headers["Content-Security-Policy"] = PAGES_POLICY if is_page else POLICY
            await send(message)

        try:
            try:
                scope["path"] = normal_path(scope.get("raw_path") or quote(scope["path"]).encode())
                await self._admit(scope, receive, send_with_headers)
            except (PondError, HTTPException) as error:  # refused here, before any route
                await answered(problem_of(error, request_id))(scope, receive, send_with_headers)
        except Exception as error:
            self._log.exception("unexpected", kind=type(error).__name__)
            if status:
                raise  # the answer has begun: the server closes the connection
            await answered(problem_of(error, request_id))(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_limited = scope["path"].startswith(LIMITED)
        if is_limited and self._inside >= self._limit:
            self._metrics.refused.inc()
            raise TooBusy
        self._inside += is_limited
        try:
            if is_limited:
                await self._know_the_caller(scope)
            await self._app(scope, self._bounded(scope, receive), send)
        finally:
            self._inside -= is_limited

    async def _know_the_caller(self, scope: Scope) -> None:
        """Authenticate before a byte of the body is read; who may do what is asked later, by each route."""
        worker = scope["state"]["worker"]
        offered = _headers(scope, b"authorization")
        caller = worker.auth.authenticate(offered[0] if len(offered) == 1 else None)
        await worker.limiter.admit(caller)
        scope["state"]["caller"] = caller

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Refuse a body that is too large, comes too slowly or is packed; nothing is ever unpacked here."""
        length = "".join(_headers(scope, b"content-length"))
        if length.isdigit() and int(length[:20]) > self._body_bytes:
            raise HTTPException(413)
        if _headers(scope, b"content-encoding") not in ([], ["identity"]):
            raise HTTPException(415)
        left, is_whole = self._body_bytes, False
        until = asyncio.get_running_loop().time() + self._body_seconds

        async def receive_within_limit() -> Message:
            nonlocal left, is_whole
            if is_whole:  # what comes now is the end of the connection: that may take its time
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408) from error
            is_whole = not message.get("more_body", False)
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)
            return message

        return receive_within_limit

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The template, never the path: paths hold customers' ids, and would be labels without end.
        path = getattr(scope.get("route"), "path", "") or "(none)"
        self._metrics.requests.labels(scope["method"], path, str(status)).inc()
        self._metrics.latency.labels(path).observe(seconds)
        self._log.info("request", method=scope["method"], path=path, status=status, ms=round(seconds * 1e3, 2))


def _headers(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
