"""What every `LiveState` promises; a test class names the way to reach its server and inherits the promises."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from features.columns import EventKind, ItemKind
from features.errors import ReleaseError, UsageError
from features.watermarks import Watermark
from service.customer_state import Decision, Status
from service.journal import id_key, partition_of
from service.live_state import LiveState, mint_decision_id, now_us, partition_prefix
from service.settings import ServiceSettings
from service.state_client import connect
from service.tail import LiveEvent, decode_rows

DAY = 86_400_000_000


@asynccontextmanager
async def opened(server, settings):
    state = LiveState(connect(server, settings), settings)
    try:
        yield state
    finally:
        await state.close()


def view(event_id, customer_id="ann", at=None, **more):
    return LiveEvent(event_id, customer_id, EventKind.view, now_us() if at is None else at, item_id="p1", **more)


def decision(customer_id="ann", body=b'{"slate":[1]}'):
    return Decision(mint_decision_id(customer_id, 16), customer_id, now_us(), "home", "r1", body)


class LiveStateConformance:
    """Inherit, and provide the fixtures `state_server`, `state_settings` and `shop`."""

    @pytest.fixture
    def run(self, state_server, state_settings):
        def run(story: Callable[[LiveState], Awaitable[None]], **changes):
            async def main():
                settings = ServiceSettings.model_validate({**state_settings.model_dump(), **changes})
                async with opened(state_server, settings) as state:
                    await story(state)

            asyncio.run(main())

        return run

    def test_a_stranger_is_known_by_nothing(self, run, shop):
        async def story(state):
            found = await state.read(shop, "nobody")
            assert (found.status, found.tail, found.last_id, found.trips) == (Status.known, b"", "0-0", 1)
            assert found.consent("marketing", "sms") is None
            assert found.attributes is None

        run(story)

    @pytest.mark.parametrize("customer", ["a/b c", "顾客😀", "x" * 256, "{a}:{b}", "é\n"])
    def test_an_acknowledged_event_is_in_the_next_read(self, run, shop, customer):
        async def story(state):
            (result,) = await state.append_events(shop, [view("e1", customer)])
            found = await state.read(shop, customer)
            (row,) = decode_rows(found.tail)
            assert (result.outcome, row.event_id, row.stream_id) == ("stored", "e1", id_key(result.stream_id))
            assert found.last_id == result.stream_id
            assert (await state.read(shop, customer + "2")).tail == b""
            assert (await state.read(shop + "-other", customer)).tail == b""

        run(story)

    def test_a_retry_is_a_duplicate_and_other_content_a_conflict(self, run, shop):
        async def story(state):
            event = view("e1")
            outcomes = [
                (await state.append_events(shop, [sent]))[0].outcome
                for sent in (event, event, replace(event, price=2.0))
            ]
            assert outcomes == ["stored", "duplicate", "conflict"]
            assert len(list(decode_rows((await state.read(shop, "ann")).tail))) == 1

        run(story)

    def test_results_are_in_the_order_of_the_events(self, run, shop):
        async def story(state):
            events = [view(f"e{i % 900}", f"c{i % 900 % 37}", at=now_us() - i % 900) for i in range(1_000)]
            events = [*events[:900], *events[:100]]
            results = await state.append_events(shop, events)
            assert [r.event_id for r in results] == [e.event_id for e in events]
            assert [r.outcome for r in results] == ["stored"] * 900 + ["duplicate"] * 100

        run(story)

    def test_late_events_are_journalled_and_in_no_tail(self, run, shop):
        async def story(state):
            (result,) = await state.append_events(shop, [view("e1", at=now_us() - 8 * DAY)])
            assert (result.outcome, result.late) == ("stored", True)
            assert (await state.read(shop, "ann")).tail == b""

        run(story)

    def test_the_tail_is_what_lies_above_the_watermark_by_stream_id(self, run, shop):
        async def story(state):
            now = now_us()
            first, second = [(await state.append_events(shop, [view(f"e{i}", at=now - i)]))[0] for i in range(2)]
            known = await state.read(shop, "ann")
            mark = {partition_of("ann", 16): Watermark(known.epoch, first.stream_id)}
            above = await state.read(shop, "ann", mark)
            assert [row.event_id for row in decode_rows(above.tail)] == ["e1"]  # earlier in time, later in the journal
            emptied = {partition_of("ann", 16): Watermark("another life", second.stream_id)}
            assert (await state.read(shop, "ann", emptied)).tail == known.tail

        run(story)

    def test_the_tail_is_bounded_and_the_newest_stay(self, run, shop):
        async def story(state):
            await state.append_events(shop, [view(f"e{i:03}") for i in range(300)])
            assert [r.event_id for r in decode_rows((await state.read(shop, "ann")).tail)] == [
                f"e{i}" for i in range(290, 300)
            ]

        run(story, tail_rows=10)

    def test_impressions_are_exposures_and_not_history(self, run, shop):
        async def story(state):
            await state.append_events(shop, [LiveEvent("e1", "ann", EventKind.impression, now_us(), item_id="p")])
            found = await state.read(shop, "ann")
            assert found.tail == b""
            assert [row.item_id for row in decode_rows(found.exposures)] == ["p"]

        run(story)

    def test_with_personalization_off_nothing_but_consent_is_read(self, run, shop):
        async def story(state):
            await state.append_events(shop, [view("e1")])
            await state.put_customer(shop, {"customer_id": "ann", "valid_from": 1, "tags": ["vip"]})
            said = {"customer_id": "ann", "purpose": "personalization", "at": 10, "state": "off", "source": "app"}
            assert await state.put_consent(shop, said) == "stored"
            off = await state.read(shop, "ann")
            assert (off.status, off.tail, off.exposures, off.attributes) == (Status.off, b"", b"", None)
            assert off.last_id == "0-0"
            assert off.consent("personalization") == "off"
            await state.put_consent(shop, {**said, "at": 9, "state": "on"})  # an older word changes nothing
            await state.put_consent(shop, {**said, "at": 10, "state": "on"})  # nor one at the same moment: off holds
            assert not (await state.read(shop, "ann")).is_personal
            await state.put_consent(shop, {**said, "at": 11, "state": "on"})
            on = await state.read(shop, "ann")
            assert on.is_personal
            assert on.attributes["tags"] == ["vip"]
            assert on.tail

        run(story)

    def test_consent_is_by_purpose_and_channel(self, run, shop):
        async def story(state):
            row = {"customer_id": "ann", "purpose": "marketing", "channel": "sms", "at": 1, "state": "on"}
            await state.put_consent(shop, row)
            found = await state.read(shop, "ann")
            assert (found.consent("marketing", "sms"), found.consent("marketing", "push")) == ("on", None)

        run(story)

    def test_a_decision_is_logged_once_and_found_by_its_id(self, run, shop):
        async def story(state):
            made = decision()
            assert await state.log_decision(shop, made) == "stored"
            assert await state.log_decision(shop, made) == "duplicate"
            assert await state.log_decision(shop, replace(made, body=b"{}")) == "conflict"
            assert (await state.get_decision(shop, made.decision_id))["body"] == '{"slate":[1]}'
            assert await state.get_decision(shop, mint_decision_id("ann", 16)) is None
            assert await state.get_decision(shop, "no id of ours") is None
            assert await state.get_decision(shop + "-other", made.decision_id) is None

        run(story)

    def test_a_change_of_the_catalogue_is_seen_by_every_customer_s_next_read(self, run, shop):
        async def story(state):
            rows = [{"product_id": f"p{i}", "valid_from": 5, "stock": 0.0} for i in range(600)]
            version = await state.put_catalogue(shop, ItemKind.product, rows)
            for customer in map(str, range(40)):
                assert (await state.read(shop, customer)).catalogue_version == version
            changes = await state.catalogue_changes(shop, limit=400)
            rest = await state.catalogue_changes(shop, changes.version, limit=400)
            assert ([e.row for e in (*changes.changes, *rest.changes)], changes.more, rest.more) == (rows, True, False)
            assert rest.version == version
            after = await state.put_catalogue(shop, ItemKind.product, [{**rows[0], "stock": 3.0}])
            assert [e.row["stock"] for e in (await state.catalogue_changes(shop, version)).changes] == [3.0]
            known, unknown = await state.catalogue_rows(shop, ItemKind.product, ["p0", "nothing"])
            assert (known.row["stock"], unknown) == (3.0, None)
            await state.announce(shop, "catalogue", version)  # a late messenger does not turn the clock back
            assert (await state.read(shop, "ann")).catalogue_version == after

        run(story)

    def test_counters_of_other_things_travel_the_same_way(self, run, shop):
        async def story(state):
            await state.announce(shop, "rules", "7-0")
            found = await state.read(shop, "ann")
            assert (found.version("rules"), found.version("experiments")) == ("7-0", "0-0")

        run(story)

    def test_a_shop_cannot_be_read_with_another_number_of_partitions(self, run, shop):
        async def first(state):
            await state.ping()
            await state.open_shop(shop)

        async def second(state):
            with pytest.raises(UsageError, match="POND_PARTITIONS=16"):
                await state.open_shop(shop)

        run(first)
        run(second, partitions=8)

    def test_a_state_of_a_newer_pond_is_refused(self, run, shop):
        async def story(state):
            await state.open_shop(shop)
            await state.client.hset(partition_prefix(shop, "c") + b"meta", "format", 2)
            with pytest.raises(ReleaseError, match="format 2, newer than 1; upgrade Pond"):
                await state.open_shop(shop)

        run(story)
