import asyncio

import pytest

from features.errors import UsageError
from service.auth import Caller
from service.control import ControlPlane, Role
from service.guardian import StateServer
from service.limits import RateLimiter
from service.problems import RateExceeded
from service.settings import ServiceSettings
from service.state_client import connect


def admitted(server, settings, rate, n, keys=("k",)):
    """How many of n requests of each key are let in, one straight after the other."""

    async def ask():
        client, found, waits = connect(server, settings), dict.fromkeys(keys, 0), []
        limiters = [RateLimiter(client, settings) for _ in range(2)]  # two workers
        for number in range(n):
            for key in keys:
                try:
                    await limiters[number % 2].admit(Caller(key, "s", Role.backend, rate))
                    found[key] += 1
                except RateExceeded as error:
                    waits.append(error.seconds)
        await client.aclose()
        await client.connection_pool.disconnect()
        assert all(seconds >= 1 for seconds in waits)
        return found

    return asyncio.run(ask())


def test_workers_share_one_count_per_key(state_server, state_settings):
    # At 0.01 a second the next one is due in 100 s: nothing here takes that long.
    assert admitted(state_server, state_settings, 0.01, 10, ("one", "two")) == {"one": 1, "two": 1}


def test_a_burst_of_one_seconds_worth_is_let_in(state_server, state_settings):
    assert admitted(state_server, state_settings, 100_000, 200, ("fast",)) == {"fast": 200}


def test_without_a_rate_nothing_is_counted_and_nobody_asked(tmp_path):
    nowhere = StateServer(url=f"unix://{tmp_path}/no-such-socket", embedded=False)
    assert admitted(nowhere, ServiceSettings(home=tmp_path), None, 50) == {"k": 50}


def test_while_the_state_server_is_away_each_worker_counts_by_itself(tmp_path):
    nowhere = StateServer(url=f"unix://{tmp_path}/no-such-socket", embedded=False)
    assert admitted(nowhere, ServiceSettings(home=tmp_path), 0.01, 10) == {"k": 2}  # one for each of two workers


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 0.001])
def test_a_rate_that_makes_no_sense_is_refused(tmp_path, rate):
    control = ControlPlane.open(ServiceSettings(home=tmp_path))
    with pytest.raises(UsageError, match="requests a second"):
        control.create_key("s", Role.backend, rate=rate)
    control.close()
