import asyncio
import time
from types import SimpleNamespace

import orjson
import polars as pl
import pytest

from features.columns import EventKind, ItemKind
from features.erasure import NOBODY_ERASED, Erased, digest_of
from features.errors import UsageError
from features.lake import Lake
from features.lake_rewrite import rewrite_without
from features.person import Person
from features.watermarks import watermarks
from service.compaction import tidied
from service.drain import TABLES, Drain
from service.groups import live_members
from service.journal import CATALOGUE, id_key, partition_of
from service.live_erasure import forget
from service.live_state import partition_prefix
from service.lives import Source
from service.readings import FIELD, PULSE
from service.rebuild import Rebuilder
from service.tail import LiveEvent, TailRow, decode_rows
from tests.conformance.live_state import DAY, decision, now_us, opened, view

CUSTOMERS = [f"c{n}" for n in range(12)]


@pytest.fixture
def world(state_server, state_settings, shop, tmp_path):
    """Runs a story with the parts of one shop."""

    def run(story):
        async def main():
            async with opened(state_server, state_settings) as state:
                lake = Lake(tmp_path / "lake")
                drain = Drain(state.client, shop, lake, tmp_path / "rejects", state_settings.partitions)

                async def rebuild(releases=(), serving=None, erased=NOBODY_ERASED):
                    source = Source(shop, Lake(lake.root), tmp_path / "rejects", releases, serving)
                    return await Rebuilder(state.client, state_settings, source, now_us(), erased).run()

                async def lose(kinds=None):
                    """Lose the whole state of the shop, or only some kinds of keys; then nobody's memory is left."""
                    prefix = f"pond:v1:{{{shop}:".encode()
                    for key in [k async for k in state.client.scan_iter(prefix + b"*")]:
                        if kinds is None or key.split(b"}:")[1].split(b":")[0] in kinds:
                            await state.client.delete(key)

                await state.open_shop(shop)
                await story(SimpleNamespace(state=state, lake=lake, drain=drain, rebuild=rebuild, lose=lose))

        asyncio.run(main())

    return run


async def live(state, shop, first, n=40):
    """Everything a shop tells: events, late ones, impressions, decisions, catalogue, profiles, consents."""
    at = now_us()
    events = [
        LiveEvent(
            f"e{i:03}", CUSTOMERS[i % 12], EventKind.impression if i % 5 == 0 else EventKind.purchase, at - i,
            item_id=f"p{i % 7}", price=float(i), quantity=2.0, order_id=f"o{i}", channel="app", position=i,
            props='{"a":1}',
        )
        for i in range(first, first + n)
    ]  # fmt: skip
    late = view(f"late{first}", "c1", at=at - 30 * DAY)
    await state.append_events(shop, [*events, late])
    await state.log_decision(shop, decision(f"c{first % 12}"))
    rows = [{"product_id": f"p{i}", "valid_from": first, "stock": float(first + i), "tags": ["x"]} for i in range(7)]
    await state.put_catalogue(shop, ItemKind.product, rows)
    await state.put_catalogue(shop, ItemKind.content, [{"content_id": "k", "valid_from": first, "title": f"t{first}"}])
    for n_ in range(3):
        row = {"customer_id": f"c{n_}", "valid_from": first, "tags": [f"vip{first}"], "attributes": '{"region":"x"}'}
        row |= {"group_ids": ["all", f"g{first}"]}
        await state.put_customer(shop, row)
    said = {"customer_id": "c2", "purpose": "marketing", "channel": "sms", "at": first, "state": "on", "source": "app"}
    await state.put_consent(shop, said)
    await state.put_consent(shop, {**said, "state": "off"})
    off = {"customer_id": "c3", "purpose": "personalization", "at": first, "state": "off" if first % 80 else "on"}
    await state.put_consent(shop, off)
    return events


def rows_of(tail):
    """A tail without its stream ids, which a rebuilt one does not know."""
    return [tuple(getattr(row, name) for name in TailRow.__slots__ if name != "stream_id") for row in decode_rows(tail)]


async def answers(state, shop, marks):
    """Everything a decision can read of every customer above a release, and of the catalogue."""
    found = {}
    for who in [*CUSTOMERS, "stranger"]:
        one = await state.read(shop, who, marks)
        fields = {k: v for k, v in one.fields.items() if k != b"last"}
        versions = {k: v for k, v in one.versions.items() if k in (b"catalogue", b"epoch")}
        found[who] = (one.status, fields, versions, rows_of(one.tail), rows_of(one.exposures))
    catalogue = await state.catalogue_changes(shop, marks["c"].id if "c" in marks else "0-0")
    found["catalogue"] = (catalogue.version, sorted((e.type, str(e.row)) for e in catalogue.changes))
    kept = await state.catalogue_rows(shop, ItemKind.product, [f"p{i}" for i in range(8)])
    groups = {name: sorted(await live_members(state, shop, name)) for name in ("all", "g0", "g40", "g120")}
    return found | {"rows": [e and e.row for e in kept], "groups": groups}


@pytest.mark.parametrize("lost", [True, False])
def test_what_is_being_read_is_told_again_where_it_was_lost_and_only_there(world, shop, lost):
    """Made again it is no younger than it was: a worker that served on has counted it."""

    def reading(n, kind=EventKind.view):
        return LiveEvent(f"r{n}", f"c{n % 12}", kind, now_us(), item_id=f"a{n % 3}", item_kind=ItemKind.content)

    async def told(client):
        found = await client.xrange(partition_prefix(shop, CATALOGUE) + PULSE)
        return [(entry_id.decode(), orjson.loads(fields[FIELD.encode()])) for entry_id, fields in found]

    async def story(w):
        events = [reading(n) for n in range(1200)]
        shown = reading(5000, EventKind.impression)
        await w.state.append_events(shop, [*events, shown, view("of-a-product", "c1")])
        await w.drain.run()
        counted_until = f"{time.time_ns() // 1_000_000}-0"
        await w.state.client.xadd(partition_prefix(shop, CATALOGUE) + PULSE, {FIELD: b'{"readings":[]}'})
        if lost:
            await w.lose()
        for _ in range(2):
            await w.rebuild()
        entries = await told(w.state.client)
        if not lost:
            assert [body for _, body in entries] == [{"readings": []}]
            return
        readings = [tuple(one) for _, body in entries for one in body["readings"]]
        assert sorted(readings) == sorted((e.item_id, e.at, 0) for e in events)
        assert all(id_key(entry_id) <= id_key(counted_until) for entry_id, _ in entries)
        assert {body["release"] for _, body in entries} == {""}  # no release's groups

    world(story)


@pytest.mark.parametrize("lost", [None, {b"t", b"x", b"c", b"m", b"rows", b"e"}, {b"journal"}])
@pytest.mark.parametrize("is_compacted", [False, True])
def test_what_was_lost_is_made_again_for_every_release(world, shop, lost, is_compacted):
    async def story(w):
        marks = [{}]
        for n in range(4):
            events = await live(w.state, shop, first=n * 40)
            await w.drain.run()
            if n < 3:
                marks.append(watermarks(w.lake.commits("events")))
        before = [await answers(w.state, shop, mark) for mark in marks]
        assert before[0]["groups"] == {"all": ["c0", "c1", "c2"], "g0": [], "g40": [], "g120": ["c0", "c1", "c2"]}
        assert len({len(one["c1"][3]) for one in before}) == 4  # the releases read different tails
        if is_compacted:
            assert tidied(w.lake, TABLES, marks, most_parts=1).merged > 10
        await w.lose(lost)
        for _ in range(2):  # running it again changes nothing
            await w.rebuild(marks, marks[-1])
            assert [await answers(w.state, shop, mark) for mark in marks] == before
        again = await w.state.append_events(shop, [events[0], LiveEvent("e120", "c0", EventKind.view, now_us())])
        assert [r.outcome for r in again] == ["duplicate", "conflict"]

    world(story)


def test_what_was_not_yet_drained_is_in_the_rebuilt_state(world, shop):
    async def story(w):
        await live(w.state, shop, first=0)
        await w.drain.run()
        mark = watermarks(w.lake.commits("events"))
        await live(w.state, shop, first=40)
        before = await answers(w.state, shop, mark)
        await w.lose({b"t", b"x", b"c", b"e", b"d", b"rows"})
        await w.rebuild([mark], mark)
        assert await answers(w.state, shop, mark) == before

    world(story)


def test_life_goes_on_and_the_next_release_reads_nothing_twice(world, shop, state_server, state_settings):
    async def story(w):
        await live(w.state, shop, first=0)
        await w.drain.run()
        first = watermarks(w.lake.commits("events"))
        await live(w.state, shop, first=40)
        await w.drain.run()
        await w.lose()
        await w.rebuild([first], first)
        second = watermarks(w.lake.commits("events"))
        async with opened(state_server, state_settings) as worker:
            assert (await worker.read(shop, "c1", second)).tail == b""
            await worker.append_events(shop, [view("fresh", "c1")])
            assert [r.event_id for r in decode_rows((await worker.read(shop, "c1", second)).tail)] == ["fresh"]
            read = [r.event_id for r in decode_rows((await worker.read(shop, "c1", first)).tail)]
            assert read == ["e049", "e061", "e073", "fresh"]
            await worker.put_catalogue(shop, ItemKind.product, [{"product_id": "p0", "valid_from": 99, "stock": 1.0}])
            assert len((await worker.catalogue_changes(shop, second["c"].id)).changes) == 1
        await w.drain.run()
        ids = w.lake.scan("events").collect()["event_id"]
        assert (ids.len(), ids.n_unique(), "fresh" in ids) == (83, 83, True)
        assert w.lake.scan("products").filter(pl.col("valid_from") == 99).collect().height == 1

    world(story)


def test_an_emptied_server_that_served_on_gets_back_what_its_former_life_had(world, shop, state_server, state_settings):
    async def story(w):
        await live(w.state, shop, first=0)
        await w.drain.run()
        mark = watermarks(w.lake.commits("events"))
        await live(w.state, shop, first=40)
        await w.drain.run()
        before = await answers(w.state, shop, mark)
        await w.lose()
        async with opened(state_server, state_settings) as worker:
            await worker.append_events(shop, [view(f"new-{who}", who) for who in CUSTOMERS])
            await worker.put_catalogue(shop, ItemKind.bundle, [{"bundle_id": "b", "valid_from": 1, "product_ids": []}])
        for _ in range(2):
            await w.rebuild([mark], mark)
            after = await answers(w.state, shop, mark)
            for who in CUSTOMERS:
                tail, news = after[who][3], after[who][3][len(before[who][3]) :]
                assert tail[: len(before[who][3])] == before[who][3]
                assert [row[-1] for row in news] == ([] if who == "c3" else [f"new-{who}"])
            assert after["rows"] == before["rows"]
            assert len(after["catalogue"][1]) == len(before["catalogue"][1]) + 1
        next_ = watermarks(w.lake.commits("events"))
        for who in CUSTOMERS:
            assert (await w.state.read(shop, who, next_)).tail == b""

    world(story)


def test_a_rebuild_that_was_broken_off_serves_nobody_until_it_was_done(world, shop, monkeypatch):
    async def story(w):
        await live(w.state, shop, first=0)
        before = await answers(w.state, shop, {})

        async def dies(_self):
            raise KeyboardInterrupt

        monkeypatch.setattr(Rebuilder, "_events", dies)
        with pytest.raises(KeyboardInterrupt):
            await w.rebuild()
        with pytest.raises(UsageError, match="half rebuilt; run `pond rebuild-live"):
            await w.state.open_shop(shop)
        monkeypatch.undo()
        await w.rebuild()
        await w.state.open_shop(shop)
        assert await answers(w.state, shop, {}) == before

    world(story)


def test_tombstones_aliases_and_fields_of_others_stay(world, shop):
    async def story(w):
        await live(w.state, shop, first=0)
        await w.drain.run()
        prefix = partition_prefix(shop, partition_of("phone", 16))
        await w.state.client.hset(prefix + b"c:phone", "alias", "c2")
        await forget(w.state, shop, ["c1"])
        await w.rebuild()
        assert (await w.state.read(shop, "c1")).status.value == "gone"
        assert (await w.state.read(shop, "phone")).customer_id == "c2"
        assert (await w.state.append_events(shop, [view("again", "c1")]))[0].outcome == "rejected"

    world(story)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_after_an_erasure_the_others_tails_are_made_again_as_they_were(world, shop, is_compacted):
    async def story(w):
        marks = [{}]
        for n in range(3):
            await live(w.state, shop, first=n * 40)
            await w.drain.run()
            marks.append(watermarks(w.lake.commits("events")))
        if is_compacted:
            assert tidied(w.lake, TABLES, marks, most_parts=1).merged > 6
        await forget(w.state, shop, ["c1"])
        for table in TABLES:
            rewrite_without(w.lake, table, Person.of(["c1"]), fence=True)
        before = [await answers(w.state, shop, mark) for mark in marks]
        assert [len(one["c2"][3]) for one in before] == sorted({len(one["c2"][3]) for one in before}, reverse=True)
        await w.lose()
        await w.rebuild(marks, marks[-1], erased=Erased(shop, b"", frozenset([digest_of(b"", shop, "c1")])))
        assert [await answers(w.state, shop, mark) for mark in marks] == before

    world(story)


def test_tombstones_that_were_lost_come_back_from_the_control_plane(world, shop):
    async def story(w):
        await live(w.state, shop, first=0)
        await w.drain.run()
        await w.lose()
        await w.rebuild(erased=Erased(shop, b"", frozenset([digest_of(b"", shop, "c1")])))
        for who, status in (("c1", "gone"), ("c2", "ok")):
            assert (await w.state.read(shop, who)).status.value == status
        assert (await w.state.append_events(shop, [view("again", "c1")]))[0].outcome == "rejected"
        prefix = partition_prefix(shop, partition_of("c1", 16))
        assert not await w.state.client.exists(prefix + b"c:c1", prefix + b"t:c1", prefix + b"x:c1")

    world(story)


def test_a_decision_is_found_after_the_rebuild_and_logged_once(world, shop):
    async def story(w):
        drained, fresh = decision("c1"), decision("c1")
        await w.state.log_decision(shop, drained)
        await w.drain.run()
        await w.lose()
        await w.rebuild()
        await w.state.log_decision(shop, fresh)
        await w.lose({b"d", b"t"})
        await w.rebuild()
        assert await w.state.log_decision(shop, drained) == "duplicate"  # a spool that is replayed late
        assert await w.state.log_decision(shop, fresh) == "duplicate"
        assert await w.state.get_decision(shop, drained.decision_id) is None  # the lake has it
        assert (await w.state.get_decision(shop, fresh.decision_id))["decision_id"] == fresh.decision_id

    world(story)


def test_another_number_of_partitions_is_refused(world, shop, state_server, state_settings, tmp_path):
    async def story(w):
        await live(w.state, shop, first=0)
        await w.drain.run()
        fewer = state_settings.model_copy(update={"partitions": 4})
        source = Source(shop, w.lake, tmp_path / "rejects", (), None)
        for lost in (False, True):
            if lost:
                await w.lose()
            with pytest.raises(UsageError, match="POND_PARTITIONS="):
                await Rebuilder(w.state.client, fewer, source, now_us()).run()

    world(story)
