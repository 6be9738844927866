"""The one way to the state server: a pool per worker, explicit deadlines, no retries, typed errors."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError, ResponseError

from features.errors import ServiceUnreachable, StorageFull
from service.guardian import StateServer
from service.settings import ServiceSettings

Client: TypeAlias = aioredis.Redis

_GONE: Final = "The state server does not answer; try again shortly."
_FULL: Final = "The state server is full; make room or raise its memory limit, then send the request again."


def connect(server: StateServer, settings: ServiceSettings) -> Client:
    """Return a client with its own pool; nothing is sent yet.

    A connection that the server closed is replaced when it is taken from the pool, so a restart costs no error; a
    command that fails is never sent twice.
    """
    pool = aioredis.BlockingConnectionPool.from_url(
        server.url, max_connections=settings.connections, timeout=settings.connect_ms / 1e3,
        socket_connect_timeout=settings.connect_ms / 1e3, socket_timeout=settings.write_ms / 1e3,
        retry=Retry(NoBackoff(), 0), retry_on_error=[], protocol=2, health_check_interval=0,
    )  # fmt: skip
    return aioredis.Redis.from_pool(pool)


async def ask(client: Client, *command: Any) -> Any:
    """Send one command; the answer has the types redis-py gives to RESP2: bytes, int, list, None."""
    send: Callable[..., Awaitable[Any]] = client.execute_command  # redis-py declares no types here
    return await send(*command)


@contextlib.asynccontextmanager
async def state_errors() -> AsyncIterator[None]:
    """Turn every failure of the client into one of Pond's errors.

    Raises
    ------
    StorageFull
        The server's memory, or the disk of its append-only file, is full; nothing was written.
    ServiceUnreachable
        Refused, timed out, still loading, or an answer that makes no sense.
    """
    try:
        yield
    except OutOfMemoryError as error:
        raise StorageFull(_FULL) from error
    except ResponseError as error:
        if str(error).startswith(("OOM", "MISCONF")):
            raise StorageFull(_FULL) from error
        raise ServiceUnreachable(f"The state server refused a command ({error}).") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise ServiceUnreachable(_GONE) from error


class Script:
    """A Lua script by its digest; loaded when the server does not have it (after a restart)."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._sha = ""

    async def run(self, client: Client, keys: Sequence[bytes], arguments: Sequence[Any]) -> Any:
        """Run once; one round trip, three when the server has forgotten the script."""
        if not self._sha:
            self._sha = await client.script_load(self._source)
        try:
            return await ask(client, "EVALSHA", self._sha, len(keys), *keys, *arguments)
        except NoScriptError:
            await client.script_load(self._source)
            return await ask(client, "EVALSHA", self._sha, len(keys), *keys, *arguments)

    async def run_many(self, client: Client, calls: Sequence[tuple[Sequence[bytes], Sequence[Any]]]) -> list[Any]:
        """Run several calls, each atomic by itself, in one round trip; the first error of any call is raised."""
        answers: list[Any] = [NoScriptError()] * len(calls)
        for _ in range(2):
            waiting = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if not waiting:
                break
            self._sha = self._sha or await client.script_load(self._source)
            async with client.pipeline(transaction=False) as pipe:
                for i in waiting:
                    keys, arguments = calls[i]
                    pipe.execute_command("EVALSHA", self._sha, len(keys), *keys, *arguments)
                for i, answer in zip(waiting, await pipe.execute(raise_on_error=False), strict=True):
                    answers[i] = answer
            if any(isinstance(answer, NoScriptError) for answer in answers):
                await client.script_load(self._source)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers
