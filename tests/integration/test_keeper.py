import asyncio
from dataclasses import replace

import polars as pl
import pytest

from features.columns import ItemKind
from features.errors import StorageFull
from features.lake import Lake
from features.lineage import lineage
from features.watermarks import watermarks
from service.compaction import tidied
from service.drain import TABLES, Drain, Fenced
from service.journal import lowest, partition_of
from service.keeper import Election, Kept, run_keeper
from service.live_state import partition_prefix
from tests.conformance.live_state import DAY, decision, now_us, opened, view

PARTITIONS = 16


class KeeperDied(Exception):
    pass


class LakeThatDies(Lake):
    """A real lake whose writer dies at the nth commit, before or after it."""

    def __init__(self, root, nth, *, after):
        super().__init__(root)
        self.left, self.after = nth, after

    def commit_next(self, *args, **more):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeeperDied
        done = super().commit_next(*args, **more)
        if self.left == 0:
            raise KeeperDied
        return done


@pytest.fixture
def world(state_server, state_settings, shop, tmp_path):
    """Runs a story with (state, a maker of drains, the lake)."""

    def run(story):
        async def main():
            async with opened(state_server, state_settings) as state:
                lake = Lake(tmp_path / "lake")

                def drain(of=lake):
                    return Drain(state.client, shop, of, tmp_path / "rejects", PARTITIONS)

                await story(state, drain, lake)

        asyncio.run(main())

    return run


async def fill(state, shop, first=0, n=60):
    events = [view(f"e{i:03}", f"c{i % 7}") for i in range(first, first + n)]
    assert {result.outcome for result in await state.append_events(shop, events)} == {"stored"}
    await state.log_decision(shop, decision("c1"))
    await state.put_catalogue(shop, ItemKind.product, [{"product_id": "p1", "valid_from": first, "tags": ["a"]}])
    await state.put_customer(shop, {"customer_id": "c1", "valid_from": first, "tags": ["vip"]})
    await state.put_consent(
        shop, {"customer_id": "c1", "purpose": "marketing", "channel": "sms", "at": first, "state": "on"}
    )


def ids(lake):
    return sorted(lake.scan("events").collect()["event_id"])


def counts(lake):
    return {table: lake.rows(table) for table in ("events", "decisions", "products", "customers", "consents")}


def test_everything_accepted_is_in_the_lake_once(world, shop):
    async def story(state, drain, lake):
        keeper = drain()
        assert (await keeper.run()).entries == 0
        await fill(state, shop)
        done = await keeper.run()
        assert (done.entries, done.rows["events"], done.duplicates, done.refused) == (64, 60, 0, 0)
        assert (await keeper.run()).entries == 0
        await fill(state, shop, first=60)
        assert (await drain().run()).entries == 64  # another keeper goes on where this one ended
        assert ids(lake) == [f"e{i:03}" for i in range(120)]
        assert counts(lake) == {"events": 120, "decisions": 2, "products": 2, "customers": 2, "consents": 2}
        row = lake.scan("products").collect().to_dicts()[0]
        assert (row["product_id"], row["tags"], row["price"]) == ("p1", ["a"], None)

    world(story)


@pytest.mark.parametrize("nth", [1, 2, 5])
@pytest.mark.parametrize("after", [False, True])
def test_a_keeper_killed_around_a_commit_loses_and_doubles_nothing(world, shop, nth, after):
    async def story(state, drain, lake):
        await fill(state, shop)
        with pytest.raises(KeeperDied):
            await drain(LakeThatDies(lake.root, nth, after=after)).run()
        await fill(state, shop, first=60)  # the next range is another one
        await drain().run()
        assert ids(lake) == [f"e{i:03}" for i in range(120)]
        assert counts(lake) == {"events": 120, "decisions": 2, "products": 2, "customers": 2, "consents": 2}

    world(story)


def test_two_keepers_at_once_write_every_range_once(world, shop):
    async def story(state, drain, lake):
        keepers = [drain(Lake(lake.root)) for _ in range(3)]
        for round_ in range(3):
            await fill(state, shop, first=round_ * 60)
            await asyncio.gather(*(keeper.run() for keeper in keepers))
        assert ids(lake) == [f"e{i:03}" for i in range(180)]
        assert counts(lake)["decisions"] == 3

    world(story)


def test_an_emptied_server_is_a_new_life_and_known_events_are_not_doubled(world, shop, state_server, state_settings):
    async def story(state, drain, lake):
        await fill(state, shop)
        again = view("kept", "c1")
        await state.append_events(shop, [again])
        await drain().run()
        for key in [k async for k in state.client.scan_iter(f"pond:v1:{{{shop}:*".encode())]:
            await state.client.delete(key)
        async with opened(state_server, state_settings) as reborn:  # a worker after the loss
            (result,) = await reborn.append_events(shop, [again])
            assert result.outcome == "stored"  # nobody remembers it but the lake
            await reborn.append_events(shop, [view("fresh", "c1")])
        done = await drain().run()
        assert (done.rows["events"], done.duplicates) == (1, 1)
        assert sorted(ids(lake)) == sorted([*(f"e{i:03}" for i in range(60)), "fresh", "kept"])

    world(story)


def test_late_events_count_once_and_contradictions_are_kept_apart(world, shop, tmp_path):
    async def story(state, drain, lake):
        old = view("old", "c1", at=now_us() - 30 * DAY)
        rows = pl.DataFrame([old.row()], schema=lake.scan("events").collect_schema())
        lake.append("events", rows, source="a file")
        twice = [view("both", "c1", at=old.at), view("both", "c2", at=old.at)]  # one id in two partitions
        await state.append_events(shop, [old, *twice])
        done = await drain().run()
        assert (done.rows["events"], done.duplicates, done.refused) == (1, 1, 1)
        assert ids(lake) == ["both", "old"]
        assert (tmp_path / "rejects" / "journal.jsonl").read_text().count('"both"') == 1
        await state.append_events(shop, [replace(old, price=9.0, customer_id="c3")])
        assert (await drain().run()).refused == 1

    world(story)


def test_a_row_the_lake_cannot_take_stops_nothing(world, shop, tmp_path):
    async def story(state, drain, lake):
        good = {"product_id": "p1", "valid_from": 1}
        await state.put_catalogue(shop, ItemKind.product, [good, {**good, "tags": 5}, {**good, "product_id": "p2"}])
        done = await drain().run()
        assert (done.rows["products"], done.refused) == (2, 1)
        assert '"tags":5' in (tmp_path / "rejects" / "journal.jsonl").read_text()

    world(story)


def test_trimming_stops_at_the_lowest_release_and_at_what_is_drained(world, shop):
    async def story(state, drain, lake):
        journal = partition_prefix(shop, partition_of("c1", PARTITIONS)) + b"journal"
        keeper = drain()
        marks = []
        for i in range(2):
            await state.append_events(shop, [view(f"{i}-{j}", "c1") for j in range(5)])
            await keeper.run()
            marks.append(watermarks(lake.commits("events")))
        await state.append_events(shop, [view("undrained", "c1")])
        assert await keeper.trim(lowest([])) == 0
        assert await keeper.trim(lowest(marks)) == 4  # the watermark itself stays
        assert await state.client.xlen(journal) == 7
        assert await keeper.trim(lowest(marks[1:])) == 5
        await keeper.run()
        assert ids(lake)[-1] == "undrained"

    world(story)


def test_only_one_holds_the_election_and_every_holder_has_a_higher_token(world):
    async def story(state, drain, lake):
        first, second = Election(state.client), Election(state.client)
        assert await first.hold()
        assert await first.hold()
        assert not await second.hold()
        await second.resign()  # not its own: changes nothing
        assert not await second.hold()
        await first.resign()
        assert await second.hold()
        assert second.token == first.token + 1
        await second.resign()

    world(story)


def test_a_stopped_keeper_has_drained_what_was_accepted(world, shop, state_server, state_settings, tmp_path):
    async def story(state, drain, lake):
        stop = asyncio.Event()
        kept = Kept(shop, Lake(lake.root), tmp_path / "rejects", tuple)
        task = asyncio.create_task(run_keeper(state_server, state_settings, lambda: [kept], stop, every_s=60))
        await fill(state, shop)
        stop.set()
        await task
        assert len(ids(lake)) == 60
        other = Election(state.client)
        assert await other.hold()  # it has resigned
        await other.resign()

    world(story)


def test_a_full_disk_is_said_and_nothing_is_lost(world, shop):
    class FullDisk(Lake):
        def write_part(self, table, rows):
            raise StorageFull("full")

    async def story(state, drain, lake):
        await fill(state, shop)
        with pytest.raises(StorageFull):
            await drain(FullDisk(lake.root)).run()
        await drain().run()
        assert len(ids(lake)) == 60

    world(story)


class Meanwhile:
    """The server's own client; `happens` comes to pass right before the first journal is read."""

    def __init__(self, client, happens):
        self._client, self._happens = client, happens

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def execute_command(self, *command):
        if command[0] == "XRANGE" and self._happens is not None:
            happens, self._happens = self._happens, None
            await happens()
        return await self._client.execute_command(*command)


@pytest.mark.parametrize("emptied", [False, True])
def test_a_journal_that_begins_while_it_is_read_is_drained_once(world, shop, tmp_path, emptied):
    """Its first entry comes between the look at the epoch and the look at the entries; decisions have no second net."""
    first = [decision(f"c{n}") for n in range(200)]
    first = next(d for d in first if partition_of(d.customer_id, PARTITIONS) == "0")

    async def story(state, drain, lake):
        if emptied:
            await fill(state, shop)
            assert (await drain().run()).entries == 64

        async def happens():
            if emptied:
                await state.client.flushall()
            assert await state.log_decision(shop, first) == "stored"

        surprised = Drain(Meanwhile(state.client, happens), shop, lake, tmp_path / "rejects", PARTITIONS)
        await surprised.run()
        await surprised.run()
        await drain().run()
        known = lake.scan("decisions").collect()["decision_id"].to_list()
        assert known.count(first.decision_id) == 1

    world(story)


def test_the_second_net_holds_for_decisions_too(world, shop, state_server, state_settings):
    async def story(state, drain, lake):
        made = decision("c1")
        await state.log_decision(shop, made)
        await drain().run()
        for key in [k async for k in state.client.scan_iter(f"pond:v1:{{{shop}:*".encode())]:
            await state.client.delete(key)
        async with opened(state_server, state_settings) as reborn:  # a spool is replayed after the server's loss
            assert await reborn.log_decision(shop, made) == "stored"
            await reborn.log_decision(shop, decision("c1"))
        done = await drain().run()
        assert (done.duplicates, counts(lake)["decisions"]) == (1, 2)

    world(story)


def test_a_retry_after_days_does_nothing_whatever_the_server_has_forgotten(world, shop):
    """Ids are remembered for longer than their events are young, so that every retry is known or late."""

    async def story(state, drain, lake):
        now = now_us()
        sent = view("e1", "c1", at=now)
        ahead = view("e2", "c1", at=now + DAY)  # from a clock that runs ahead, as far as it may
        await state.append_events(shop, [sent, ahead])
        await drain().run()
        tail = (await state.read(shop, "c1")).tail
        prefix = partition_prefix(shop, partition_of("c1", PARTITIONS))
        remembered = [await state.client.ttl(k) async for k in state.client.scan_iter(prefix + b"e:*")]
        assert min(remembered) > 8 * 86_400  # longer than e2 is young
        retried = await state.append_events(shop, [sent, ahead], now=now + 8 * DAY - 1)
        assert [(r.outcome, r.late) for r in retried] == [("duplicate", True), ("duplicate", False)]
        async for key in state.client.scan_iter(prefix + b"e:*"):  # the days pass
            await state.client.delete(key)
        again = await state.append_events(shop, [sent, ahead], now=now + 10 * DAY)
        assert [(r.outcome, r.late) for r in again] == [("stored", True)] * 2
        done = await drain().run()
        assert (done.rows["events"], done.duplicates, done.refused) == (0, 2, 0)
        assert (await state.read(shop, "c1")).tail == tail

    world(story)


def test_a_keeper_that_wakes_up_late_trims_nothing(world, shop):
    async def story(state, drain, lake):
        await state.append_events(shop, [view(f"e{j}", "c1") for j in range(9)])
        late, elected = drain(), drain()
        await late.run()
        marks = lowest([watermarks(lake.commits("events"))])
        assert await elected.trim(marks, token=7) == 8
        await state.append_events(shop, [view(f"f{j}", "c1") for j in range(9)])
        await elected.run()
        with pytest.raises(Fenced):
            await late.trim(lowest([watermarks(lake.commits("events"))]), token=6)
        assert await state.client.xlen(partition_prefix(shop, partition_of("c1", PARTITIONS)) + b"journal") == 10
        assert await elected.trim(lowest([watermarks(lake.commits("events"))]), token=7) == 9

    world(story)


def test_a_busy_shop_lets_the_others_be_drained(world, shop, monkeypatch):
    """One run takes what stood there; a keeper renews its lease between the commits of a long one."""

    async def story(state, drain, lake):
        monkeypatch.setattr("service.drain.BATCH", 10)
        await state.append_events(shop, [view(f"e{j}", "c1") for j in range(35)])
        asked = []

        async def may_go_on():
            asked.append(1)
            await state.append_events(shop, [view(f"more{len(asked)}-{j}", "c1") for j in range(2)])
            return True

        assert (await drain().run(may_go_on)).entries == 43  # ends with the first that was not full
        assert len(asked) == 4
        await state.append_events(shop, [view(f"late{j}", "c1") for j in range(35)])
        stopped = await drain().run(lambda: asyncio.sleep(0, result=False))
        assert stopped.entries == 10

    world(story)


def test_trouble_in_one_shop_keeps_no_other_waiting(world, shop, state_server, state_settings, tmp_path):
    async def story(state, drain, lake):
        broken = Lake(tmp_path / "broken")
        (broken.root / "events" / "_log").mkdir(parents=True)
        (broken.root / "events" / "_log" / "nonsense.json").write_text("{}")
        await fill(state, shop)
        stop = asyncio.Event()
        stop.set()
        kept = [
            Kept(f"{shop}-x", broken, tmp_path / "r1", tuple),
            Kept(shop, Lake(lake.root), tmp_path / "r2", tuple),
        ]
        await run_keeper(state_server, state_settings, lambda: kept, stop)
        assert len(ids(lake)) == 60

    world(story)


def test_a_last_drain_needs_no_election(world, shop, state_server, state_settings, tmp_path):
    async def story(state, drain, lake):
        other = Election(state.client)
        assert await other.hold()
        await fill(state, shop)
        stop = asyncio.Event()
        stop.set()
        kept = Kept(shop, Lake(lake.root), tmp_path / "rejects", tuple)
        await run_keeper(state_server, state_settings, lambda: [kept], stop)
        assert len(ids(lake)) == 60
        assert await other.hold()
        await other.resign()

    world(story)


def test_drains_go_on_where_they_were_after_the_log_was_cut(world, shop, monkeypatch):
    monkeypatch.setattr("service.compaction.MOST_COMMITS", 3)

    async def story(state, drain, lake):
        keeper, idle = drain(), drain()
        await fill(state, shop)
        await idle.run()
        for n in range(12):
            await fill(state, shop, first=100 * (n + 1), n=5)
            await keeper.run()
            told, before = watermarks(lake.commits("events")), counts(lake)
            tidied(lake, TABLES, [], most_parts=100, unseen_s=-1)
            assert (watermarks(Lake(lake.root).commits("events")), counts(lake)) == (told, before)
        await fill(state, shop, first=2_000, n=5)
        for one in (drain(Lake(lake.root)), idle, keeper):  # a new one, and two that knew the log as it was
            await one.run()
        assert ids(lake) == sorted({f"e{i:03}" for n in range(13) for i in range(100 * n, 100 * n + 5)}
                                   | {f"e{i:03}" for i in [*range(60), *range(2_000, 2_005)]})  # fmt: skip
        for table in TABLES:
            assert len(list((lake.root / table / "_log").glob("*.json"))) <= 9

    world(story)


def test_many_small_drains_are_merged_and_no_reader_is_hurt(world, shop):
    async def story(state, drain, lake):
        keeper = drain()
        for n in range(12):
            late = view(f"late{n}", "c1", at=now_us() - 30 * DAY)
            await state.append_events(shop, [*(view(f"e{n:02}-{j}", f"c{j}") for j in range(5)), late])
            await keeper.run()
        reader = lake.scan("events")
        before, segments = reader.collect(), lineage(lake.since_base("events"))
        told = [s for part in lake.parts("events") for s in segments[part.name]]
        marks = [watermarks(lake.commits("events")[:7])]
        done = tidied(lake, TABLES, marks, most_parts=3)
        assert (done.merged, done.swept) == (24, 0)
        assert len(lake.parts("events")) == 1
        assert reader.collect().equals(before)  # its parts are still there
        assert lake.scan("events").collect().equals(before)
        assert list(lineage(lake.since_base("events"))[lake.parts("events")[0].name]) == told
        assert watermarks(lake.commits("events")) == keeper._marks["events"]
        await state.append_events(shop, [view("after", "c1")])
        await keeper.run()
        assert "after" in ids(lake)
        assert len(lake.sweep("events", older_than_s=-1)) == 24

    world(story)
