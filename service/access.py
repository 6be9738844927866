"""What a route asks for: the worker's parts and the caller behind the key, whom the door has let in."""

from typing import Annotated, TypeAlias, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.auth import Caller, require
from service.control import Role
from service.worker import Worker

_SCHEME = HTTPBearer(auto_error=False, description="A key from `pond keys create`: `pond_<id>_<secret>`.")
_Key: TypeAlias = Annotated[HTTPAuthorizationCredentials | None, Security(_SCHEME)]


async def _worker(request: Request) -> Worker:
    return cast("Worker", request.state.worker)


AnyWorker: TypeAlias = Annotated[Worker, Depends(_worker)]


async def _backend(request: Request, _key: _Key) -> Caller:
    return require(request.state.caller, Role.backend)


async def _operator(request: Request, _key: _Key) -> Caller:
    return require(request.state.caller, Role.operator)


async def _admin(request: Request, _key: _Key) -> Caller:
    return require(request.state.caller, Role.admin)


Backend: TypeAlias = Annotated[Caller, Depends(_backend)]
Operator: TypeAlias = Annotated[Caller, Depends(_operator)]
Admin: TypeAlias = Annotated[Caller, Depends(_admin)]
