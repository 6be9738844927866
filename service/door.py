"""The door: what every request passes first and every answer passes last.

Request ids, limits of number and size, secure headers, one log line and the counts; an error nobody expected becomes a
problem without details.
"""

import time
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observe import Metrics, request_id_of
from service.problems import TooBusy, answered, problem_of

LIMITED: Final = "/v1/"
DOCUMENTED: Final = ("/docs", "/redoc")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}  # fmt: skip
POLICY: Final = "default-src 'none'; frame-ancestors 'none'"


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, requests_at_once: int, body_bytes: int) -> None:
        self._app, self._metrics, self._limit, self._body_bytes = app, metrics, requests_at_once, body_bytes
        self._inside = 0
        self._log = structlog.get_logger("pond.service")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        offered = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = request_id_of(offered)
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
                if not scope["path"].startswith(DOCUMENTED):
                    headers["Content-Security-Policy"] = POLICY
            await send(message)

        try:
            await self._admit(scope, receive, send_with_headers)
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
            await answered(problem_of(TooBusy(), scope["state"]["request_id"]))(scope, receive, send)
            return
        left = self._body_bytes

        async def receive_within_limit() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)
            return message

        self._inside += is_limited
        try:
            await self._app(scope, receive_within_limit, send)
        finally:
            self._inside -= is_limited

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The template, never the path: paths hold customers' ids, and would be labels without end.
        path = getattr(scope.get("route"), "path", "") or "(none)"
        self._metrics.requests.labels(scope["method"], path, str(status)).inc()
        self._metrics.latency.labels(path).observe(seconds)
        self._log.info("request", method=scope["method"], path=path, status=status, ms=round(seconds * 1e3, 2))
