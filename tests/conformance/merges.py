"""What merging two ids promises on every `LiveState`; see tests/conformance/live_state.py."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from features.columns import EventKind
from features.consents import Word
from features.watermarks import Watermark
from service.customer_state import Status
from service.journal import EntryType, decode, partition_of
from service.live_erasure import forget
from service.live_state import now_us, partition_prefix
from service.merges import MergeOutcome, Merges, strictest
from service.settings import ServiceSettings
from service.tail import LiveEvent, decode_rows
from tests.conformance.live_state import opened, view


def word(customer, at, state, purpose="personalization", channel=None):
    return {"customer_id": customer, "purpose": purpose, "channel": channel, "at": at, "state": state}


def history(state):
    return sorted(row.event_id for row in decode_rows(state.tail))


async def journalled(state, shop, customer, kind):
    key = partition_prefix(shop, partition_of(customer, state.partitions)) + b"journal"
    return [e.row for e in (decode(*raw) for raw in await state.client.xrange(key)) if e.type is kind]


class MergeConformance:
    """Inherit, and provide the fixtures `state_server`, `state_settings` and `shop`."""

    @pytest.fixture
    def run(self, state_server, state_settings):
        def run(story, **changes):
            async def main():
                settings = ServiceSettings.model_validate({**state_settings.model_dump(), **changes})
                async with opened(state_server, settings) as state:
                    await story(state, Merges(state))

            asyncio.run(main())

        return run

    @pytest.mark.parametrize("other", ["phone", "a/b c", "顾客😀", "{a}:{b}", "was:ann", "x" * 256])
    def test_history_exposures_and_profile_follow_the_person(self, run, shop, other):
        async def story(state, merges):
            await state.append_events(shop, [view("e1", "ann"), view("e2", other)])
            await state.append_events(shop, [LiveEvent("x1", other, EventKind.impression, now_us(), item_id="p")])
            await state.put_customer(shop, {"customer_id": other, "valid_from": 5, "tags": ["vip"]})
            done = await merges.merge(shop, other, "ann", "phone")
            assert (done.outcome, done.customer_id, done.other) == (MergeOutcome.merged, "ann", other)
            await state.append_events(shop, [view("e3", other), view("e4", "ann")])
            for name in ("ann", other):
                found = await state.read(shop, name)
                assert (found.customer_id, found.other_ids) == ("ann", (other,))
                assert history(found) == ["e1", "e2", "e3", "e4"]
                assert [row.event_id for row in decode_rows(found.exposures)] == ["x1"]
                assert found.attributes_of_others["tags"] == ["vip"]
            assert (await state.read(shop, "ann")).trips == 2
            assert (await state.read(shop, other)).trips == 3
            assert await journalled(state, shop, other, EntryType.identity) == [
                {"id_type": "phone", "id_value": other, "customer_id": "ann"}
            ]

        run(story)

    def test_the_tail_of_each_id_is_read_above_its_own_partition_s_watermark(self, run, shop):
        async def story(state, merges):
            first = (await state.append_events(shop, [view("e1", "phone")]))[0]
            await state.append_events(shop, [view("e2", "phone"), view("e3", "ann")])
            await merges.merge(shop, "phone", "ann", "phone")
            epoch = (await state.read(shop, "phone")).epoch
            (partition,) = {partition_of("phone", 16)} - {partition_of("ann", 16)}
            other = await state.client.hget(partition_prefix(shop, partition) + b"meta", "epoch")
            above = {partition: Watermark(other.decode(), first.stream_id)}
            assert history(await state.read(shop, "ann", above)) == ["e2", "e3"]
            assert history(await state.read(shop, "phone", above)) == ["e2", "e3"]
            beyond = {partition_of("ann", 16): Watermark(epoch, "9999999999999-0")}
            assert history(await state.read(shop, "ann", beyond)) == ["e1", "e2"]

        run(story)

    @pytest.mark.parametrize(
        ("mine", "theirs", "wanted"),
        [
            ((10, "on"), (5, "off"), "off"),  # the stricter, though said before
            ((5, "off"), (10, "on"), "off"),
            (None, (5, "off"), "off"),
            ((5, "off"), None, "off"),
            ((5, "on"), (6, "on"), "on"),
            (None, None, None),
        ],
    )
    @pytest.mark.parametrize(("purpose", "channel"), [("personalization", None), ("marketing", "sms")])
    def test_of_two_words_the_stricter_holds_until_the_person_speaks_again(
        self, run, shop, mine, theirs, wanted, purpose, channel
    ):
        async def story(state, merges):
            for customer, said in (("ann", mine), ("phone", theirs)):
                if said:
                    await state.put_consent(shop, word(customer, *said, purpose, channel))
            await merges.merge(shop, "phone", "ann", "phone")
            await merges.merge(shop, "phone", "ann", "phone")
            # What was decided is in the journal as a word of the person, so the lake comes to the same.
            spoken = [row for who in ("ann", "phone") for row in await journalled(state, shop, who, EntryType.consent)]
            last = max(spoken, key=lambda row: (row["at"], row["state"] == "off"), default={"state": None})
            assert last["state"] == wanted
            for name in ("ann", "phone"):
                found = await state.read(shop, name)
                assert found.consent(purpose, channel or "") == wanted
                assert found.is_personal is not (purpose == "personalization" and wanted == "off")
                assert found.may_touch("marketing", "sms") is (purpose == "marketing" and wanted == "on")
            # A word that is sent again does not undo it; a new one, under whichever id, does.
            for customer, said in (("ann", mine), ("phone", theirs)):
                if said:
                    await state.put_consent(shop, word(customer, *said, purpose, channel))
            assert (await state.read(shop, "ann")).consent(purpose, channel or "") == wanted
            await state.put_consent(shop, word("phone", 11, "on", purpose, channel))
            assert (await state.read(shop, "ann")).consent(purpose, channel or "") == "on"
            await merges.merge(shop, "phone", "ann", "phone")
            assert (await state.read(shop, "ann")).consent(purpose, channel or "") == "on"

        run(story)

    @pytest.mark.parametrize("finisher", ["the caller", "the keeper"])
    @pytest.mark.parametrize("steps", [1, 2])
    def test_a_merge_killed_between_its_steps_is_finished_by_whoever_comes(self, run, shop, steps, finisher):
        async def story(state, merges):
            await state.append_events(shop, [view("e1", "phone"), view("e2", "ann")])
            await state.put_consent(shop, word("phone", 5, "off", "marketing", "sms"))
            await merges.absorb(shop, "phone", "ann", "phone")
            await state.append_events(shop, [view("e3", "phone")])  # meanwhile, under the old id
            await state.put_consent(shop, word("phone", 6, "off", "marketing", "push"))
            if steps == 2:
                assert await merges.alias(shop, "phone", "ann", "phone") == b"S"
                await state.put_consent(shop, word("phone", 7, "on", "marketing", "sms"))
            assert history(await state.read(shop, "ann")) == ["e1", "e2", "e3"]  # nothing is lost in between
            if finisher == "the caller":
                await Merges(state).merge(shop, "phone", "ann", "phone")
            else:
                assert await Merges(state).finish_all(shop) == 1
            assert await Merges(state).finish_all(shop) == 0
            for name in ("ann", "phone"):
                found = await state.read(shop, name)
                assert (found.customer_id, history(found)) == ("ann", ["e1", "e2", "e3"])
                assert found.consent("marketing", "push") == "off"
                assert found.consent("marketing", "sms") == ("on" if steps == 2 else "off")
            assert len(await journalled(state, shop, "phone", EntryType.identity)) == 1

        run(story)

    def test_chains_lead_to_the_end_and_are_cut_short(self, run, shop):
        async def story(state, merges):
            names = ["a", "b", "c", "d"]
            await state.append_events(shop, [view(f"e-{name}", name) for name in names])
            for other, into in pairwise(names):
                await merges.merge(shop, other, into, "card")
            for name in names:
                found = await state.read(shop, name)
                assert (found.customer_id, history(found)) == ("d", [f"e-{name}" for name in names])
                assert found.trips <= 3
            assert (await merges.merge(shop, "a", "b", "card")).outcome is MergeOutcome.already
            (stored,) = await state.append_events(shop, [view("more", "a")])
            assert stored.outcome == "stored"
            assert "more" in history(await state.read(shop, "d"))

        run(story)

    def test_what_cannot_be_merged_is_refused_and_changes_nothing(self, run, shop):
        async def story(state, merges):
            await state.append_events(shop, [view("e1", "x"), view("e2", "bob"), view("e3", "ann")])
            await merges.merge(shop, "x", "ann", "card")
            outcomes = [
                (await merges.merge(shop, *pair, "card")).outcome
                for pair in (("ann", "ann"), ("ann", "x"), ("x", "bob"), ("x", "ann"))
            ]
            assert outcomes == [MergeOutcome.same, MergeOutcome.circle, MergeOutcome.taken, MergeOutcome.already]
            assert history(await state.read(shop, "bob")) == ["e2"]
            assert (await state.read(shop, "bob")).other_ids == ()
            assert history(await state.read(shop, "ann")) == ["e1", "e3"]

        run(story)

    def test_an_erased_customer_is_merged_neither_way(self, run, shop):
        async def story(state, merges):
            await forget(state, shop, ["gone"])
            for pair in (("gone", "ann"), ("ann", "gone")):
                assert (await merges.merge(shop, *pair, "card")).outcome is MergeOutcome.erased
            assert (await state.read(shop, "gone")).status is Status.gone
            assert (await state.read(shop, "ann")).other_ids == ()
            assert not (await state.read(shop, "gone")).may_touch("marketing", "sms")

        run(story)

    def test_the_loser_of_two_merges_of_one_id_leaves_no_trace(self, run, shop):
        async def story(state, merges):
            await state.append_events(shop, [view("e1", "x"), view("e2", "y")])
            await merges.merge(shop, "y", "x", "card")
            await merges.absorb(shop, "x", "bob", "card")  # the loser's first step
            await Merges(state).merge(shop, "x", "ann", "card")  # the winner between his steps
            assert await merges.finish_all(shop) == 1
            lost = await state.read(shop, "bob")
            assert (lost.other_ids, history(lost)) == ((), [])
            assert (await merges.merge(shop, "x", "bob", "card")).outcome is MergeOutcome.taken
            assert history(await state.read(shop, "ann")) == ["e1", "e2"]

        run(story)

    def test_two_that_are_merged_into_each_other_at_once_make_no_circle(self, run, shop):
        async def story(state, merges):
            for n in range(10):
                a, b = f"a{n}", f"b{n}"
                done = await asyncio.gather(
                    merges.merge(shop, a, b, "card"), Merges(state).merge(shop, b, a, "card"), return_exceptions=True
                )
                assert done
                await merges.finish_all(shop)
                ends = {(await state.read(shop, name)).customer_id for name in (a, b)}
                assert ends <= {a, b}
                (stored,) = await state.append_events(shop, [view(f"e{n}", a)])
                assert stored.outcome == "stored"
                assert history(await state.read(shop, a)) == [f"e{n}"]

        run(story)

    def test_events_told_while_two_are_merged_are_all_kept(self, run, shop):
        async def story(state, merges):
            async def tell(who):
                for n in range(40):
                    (done,) = await state.append_events(shop, [view(f"{who}{n:02}", who)])
                    assert done.outcome == "stored"

            async def merge():
                await asyncio.sleep(0.005)
                assert (await merges.merge(shop, "phone", "ann", "phone")).outcome is MergeOutcome.merged

            await asyncio.gather(tell("phone"), tell("ann"), merge())
            wanted = sorted(f"{who}{n:02}" for who in ("phone", "ann") for n in range(40))
            assert history(await state.read(shop, "ann")) == wanted

        run(story)

    def test_a_retry_of_what_was_told_under_the_old_id_is_a_duplicate(self, run, shop):
        async def story(state, merges):
            before = view("e1", "phone", at=now_us())
            await state.append_events(shop, [before])
            await merges.merge(shop, "phone", "ann", "phone")
            after = view("e2", "phone", at=now_us())
            outcomes = [
                (await state.append_events(shop, [sent]))[0].outcome
                for sent in (before, after, after, replace(before, price=2.0))
            ]
            assert outcomes == ["duplicate", "stored", "duplicate", "conflict"]
            assert history(await state.read(shop, "ann")) == ["e1", "e2"]
            # Told under the new id it is known only there: it is kept, and counts once.
            await state.append_events(shop, [replace(before, customer_id="ann")])
            assert history(await state.read(shop, "ann")) == ["e1", "e2"]

        run(story)

    def test_with_personalization_off_no_id_s_history_is_read(self, run, shop):
        async def story(state, merges):
            await state.append_events(shop, [view("e1", "phone"), view("e2", "ann")])
            await merges.merge(shop, "phone", "ann", "phone")
            await state.put_consent(shop, word("phone", 5, "off"))
            for name in ("ann", "phone"):
                off = await state.read(shop, name)
                assert (off.status, off.tail, off.exposures, off.attributes) == (Status.off, b"", b"", None)

        run(story)


def test_the_strictest_word_is_off_and_stands_at_the_later_moment():
    on, off = Word(10, "on", "app"), Word(5, "off", "store")
    assert strictest(on, off) == strictest(off, on) == Word(10, "off", "store")
    assert strictest(on, Word(11, "on")) == Word(11, "on")
    assert strictest(off, Word(4, "off")) == off
