import asyncio
import os
import signal

import pytest
import redis

from features.columns import ItemKind
from features.errors import ServiceUnreachable, StorageFull
from features.lake import Lake
from features.watermarks import watermarks
from service import guardian
from service.customer_state import Status
from service.drain import Drain
from service.guardian import StateServer
from service.journal import lowest, partition_of
from service.keeper import Election
from service.live_erasure import forget
from service.live_state import partition_prefix
from service.settings import ServiceSettings
from tests.conformance.live_state import LiveStateConformance, decision, opened, view


class TestLiveStateOnTheEmbeddedServer(LiveStateConformance):
    """The default."""


@pytest.fixture
def own(tmp_path):
    """A server of its own that a test may hurt."""
    settings = ServiceSettings.of({}, home=tmp_path, connect_ms=3_000, read_ms=3_000, write_ms=5_000)
    try:
        yield guardian.start_or_join(settings), settings
    finally:
        guardian.stop(settings)


def key_of(shop, customer, settings):
    return partition_prefix(shop, partition_of(customer, settings.partitions)) + b"c:" + customer.encode()


def test_an_alias_is_followed_and_a_tombstone_honoured(state_server, state_settings, shop):
    async def story():
        async with opened(state_server, state_settings) as state:
            await state.client.hset(key_of(shop, "phone", state_settings), "alias", "ann")
            await forget(state, shop, ["erased"])
            row = {"valid_from": 1, "tags": ["x"]}
            said = {"purpose": "marketing", "channel": "sms", "at": 1, "state": "on"}
            for customer, outcome in (("phone", "stored"), ("erased", "rejected")):
                (result,) = await state.append_events(shop, [view(f"e-{customer}", customer)])
                assert result.outcome == outcome
                assert await state.put_customer(shop, {**row, "customer_id": customer}) == outcome
                assert await state.put_consent(shop, {**said, "customer_id": customer}) == outcome
            found = await state.read(shop, "phone")
            assert (found.customer_id, found.trips, found.consent("marketing", "sms")) == ("ann", 2, "on")
            assert found.tail == (await state.read(shop, "ann")).tail != b""
            gone = await state.read(shop, "erased")
            assert (gone.status, gone.is_personal, gone.tail, dict(gone.fields)) == (Status.gone, False, b"", {})

    asyncio.run(story())


def test_a_full_server_says_so_and_keeps_nothing_of_the_batch(own):
    server, settings = own

    async def story():
        async with opened(server, settings) as state:
            await state.append_events("s", [view("e0")])
            await state.client.config_set("maxmemory", "1mb")
            for attempt in (
                state.append_events("s", [view(f"e{i}", f"c{i}") for i in range(1_000)]),
                state.log_decision("s", decision()),
                state.put_catalogue("s", ItemKind.product, [{"product_id": "p", "valid_from": 1}]),
            ):
                with pytest.raises(StorageFull):
                    await attempt
            assert (await state.read("s", "ann")).tail  # reads go on
            await state.client.config_set("maxmemory", "100mb")
            results = await state.append_events("s", [view(f"e{i}", f"c{i}") for i in range(1, 1_000)])
            assert {result.outcome for result in results} == {"stored"}

    asyncio.run(story())


def test_a_full_server_can_be_trimmed_by_its_keeper(own, tmp_path):
    server, settings = own

    async def story():
        async with opened(server, settings) as state:
            lake = Lake(tmp_path / "lake")
            keeper, election = (
                Drain(state.client, "s", lake, tmp_path / "rejects", settings.partitions),
                Election(state.client),
            )
            await state.append_events("s", [view(f"e{i}", f"c{i}") for i in range(2_000)])
            await state.client.config_set("maxmemory", "1mb")
            with pytest.raises(StorageFull):
                await state.append_events("s", [view("one more")])
            assert await election.hold()
            await keeper.run()
            marks = lowest([watermarks(lake.commits("events"))])
            assert await keeper.trim(marks, election.token) == 2_000 - settings.partitions
            await election.resign()

    asyncio.run(story())


def test_a_silent_server_is_unreachable_within_the_deadline_and_recovers(own):
    server, settings = own
    hasty = settings.model_copy(update={"read_ms": 100, "write_ms": 100, "connect_ms": 100})
    pid = int((settings.state_dir / "server.pid").read_text())

    async def story():
        async with opened(server, settings) as patient, opened(server, hasty) as state:
            await patient.append_events("s", [view("e0")])
            os.kill(pid, signal.SIGSTOP)
            try:
                for attempt in (
                    state.read("s", "ann"),
                    state.append_events("s", [view("e1")]),
                    state.log_decision("s", decision()),
                    state.ping(),
                ):
                    with pytest.raises(ServiceUnreachable):
                        await attempt
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (await patient.read("s", "ann")).tail

    asyncio.run(story())


def test_a_restarted_server_costs_no_error_and_forgets_nothing(own):
    server, settings = own

    async def story():
        async with opened(server, settings) as state:
            made = decision()
            await state.append_events("s", [view("e0"), view("e1", "bob")])
            await state.log_decision("s", made)
            before = await state.read("s", "ann")
            await asyncio.to_thread(guardian.stop, settings)
            assert await asyncio.to_thread(guardian.start_or_join, settings) == server
            after = await state.read("s", "ann")  # the same pool, and scripts the new process has never seen
            assert (after.tail, after.epoch) == (before.tail, before.epoch)
            assert {r.outcome for r in await state.append_events("s", [view("f0"), view("f1", "bob")])} == {"stored"}
            assert await state.log_decision("s", made) == "duplicate"

    asyncio.run(story())


def test_nobody_there_is_unreachable(tmp_path, state_settings):
    async def story():
        async with opened(StateServer(f"unix://{tmp_path}/nobody", embedded=True), state_settings) as state:
            with pytest.raises(ServiceUnreachable):
                await state.read("s", "ann")

    asyncio.run(story())


def test_no_client_error_leaves_the_room_raw(state_server, state_settings, shop):
    async def story():
        async with opened(state_server, state_settings) as state:
            key = key_of(shop, "ann", state_settings)
            await state.client.set(key, "not a hash")
            with pytest.raises(ServiceUnreachable, match="refused a command") as refused:
                await state.read(shop, "ann")
            assert isinstance(refused.value.__cause__, redis.ResponseError)

    asyncio.run(story())
