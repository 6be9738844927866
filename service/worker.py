"""One worker: the parts that requests need, opened once and closed in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypedDict

import structlog

from features.errors import PondError
from service.audiences import Audiences
from service.auth import Authenticator
from service.control import ControlPlane
from service.decide import Decider, with_live_catalogue
from service.from_lake import LakeWords
from service.guardian import find_or_start
from service.limits import RateLimiter
from service.live_state import LiveState
from service.observe import Metrics
from service.reload import Reloader
from service.rights import Rights
from service.rule_cases import RuleCases
from service.rulebooks import RuleBooks
from service.rules import RuleStore
from service.serving_set import ServingSet, ServingSets
from service.settings import ServiceSettings
from service.spool import Spool
from service.state_client import connect
from service.use_cases import UseCases

REPLAY_SECONDS: Final = 0.5
LAST_REPLAYS: Final = 5  # tries before the end; what still waits then is brought back by the next start
CANCEL_AGAIN_SECONDS: Final = 0.2
BRING_SECONDS: Final = 10.0


@dataclass(frozen=True, eq=False)
class Worker:
    """What a request may use."""

    settings: ServiceSettings
    auth: Authenticator
    limiter: RateLimiter
    state: LiveState
    sets: ServingSets
    decider: Decider
    cases: UseCases
    rights: Rights
    rules: RuleCases
    reloader: Reloader
    metrics: Metrics
    audiences: Audiences


class LifespanState(TypedDict):
    """What the application's lifespan gives every request as `request.state`."""

    worker: Worker


@asynccontextmanager
async def opened_worker(
    settings: ServiceSettings, metrics: Metrics, clock: Callable[[], int]
) -> AsyncIterator[Worker]:  # fmt: skip
    """Open the parts, load what the pointers name, follow them and the state server until closed."""
    control = await asyncio.to_thread(ControlPlane.open, settings)
    server, key = await asyncio.to_thread(find_or_start, settings), await asyncio.to_thread(control.receipts.key)
    state = LiveState(connect(server, settings), settings, key)
    auth, sets, spool = Authenticator(control), ServingSets(), Spool(settings.spool)
    words = LakeWords(state)
    store = RuleStore(control.engine)
    decider = Decider(sets, state, spool, settings, metrics, clock, words, books=RuleBooks(store))

    async def overlay(serving: ServingSet) -> ServingSet:
        await state.open_shop(serving.shop.name)
        try:
            await words.bring(serving.shop, BRING_SECONDS)
        except (TimeoutError, PondError, OSError) as error:
            # Requests go on without: they show nothing personal until it is done.
            log = structlog.get_logger("pond.service")
            log.warning("consents_not_brought", shop=serving.shop.name, error=str(error))
        return await with_live_catalogue(serving, state)

    reloader = Reloader(settings.home, sets, metrics, overlay, clock)
    cases = UseCases(settings, state, sets, control, metrics, clock)
    await reloader.look()
    tasks = [asyncio.create_task(reloader.run()), asyncio.create_task(_replay(decider, metrics))]
    try:
        limiter, rights = RateLimiter(state.client, settings), Rights(settings, control, state, cases)
        rules = RuleCases(store, control, state, cases, clock)
        audiences = Audiences(decider, state, settings, metrics, clock)
        yield Worker(settings, auth, limiter, state, sets, decider, cases, rights, rules, reloader, metrics, audiences)
    finally:
        for task in tasks:
            await _end(task)
        await _replay_at_end(decider, metrics)
        await words.close()
        spool.close()
        auth.close()
        control.close()
        await state.close()


async def _end(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it has ended.

    Once is not enough: a cancellation that meets an expiring deadline comes out of it as a time-out, the task takes
    that for a state server that is away and goes on, and a shutdown that waits for it waits for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_SECONDS)


async def _replay(decider: Decider, metrics: Metrics) -> None:
    """Bring spooled decisions back as soon as the state server answers."""
    while True:
        await asyncio.sleep(REPLAY_SECONDS)
        await _replayed(decider, metrics)


async def _replay_at_end(decider: Decider, metrics: Metrics) -> None:
    """Bring back what was spooled in the last moments, so that the keeper's last drain takes it along."""
    for _ in range(LAST_REPLAYS):
        if await _replayed(decider, metrics):
            return
        await asyncio.sleep(REPLAY_SECONDS)


async def _replayed(decider: Decider, metrics: Metrics) -> bool:
    """Try once; False when the state server, or the disk, does not let it."""
    log = structlog.get_logger("pond.service")
    try:
        n = await decider.replay_spool()
    except (PondError, OSError) as error:
        log.warning("spool_waits", error=str(error))
        return False
    if n:
        metrics.replayed.inc(n)
        log.info("spool_replayed", decisions=n)
    return True
