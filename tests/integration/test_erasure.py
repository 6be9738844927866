"""Export and erasure over real parts: a real state server, real files, real commands in this process."""

import asyncio
import json
import re
import zipfile
from contextlib import asynccontextmanager

import numpy as np
import polars as pl
import pytest

from features.columns import EventKind
from features.dataset import build_dataset
from features.erasure import read_erased
from features.errors import ArtifactCorrupt, UsageError
from features.ingest import ingest_file
from features.lake import Lake
from features.person import Person
from features.scrub import still_named
from pond.cli.main import main
from pond.cli.persons import forget_what_came_back
from pond.cli.session import Session
from service.command import Command
from service.control import ControlPlane
from service.customer_state import Decision, Status
from service.decide import Decider
from service.drain import Drain, Moved
from service.eraser import Resumption
from service.erasure import Erasing, begin, carry_out, end, person_of
from service.export import export_archive
from service.from_lake import LakeWords
from service.guardian import start_or_join, stop
from service.journal import partition_of
from service.live_erasure import forget, restore_tombstones
from service.live_state import LiveState, mint_decision_id, now_us, partition_prefix
from service.observe import Metrics
from service.problems import Erased, NotKept
from service.rulebooks import RuleBooks
from service.rules import RuleStore
from service.schemas import RecommendRequest
from service.serving_set import ServingSet, ServingSets
from service.spool import Spool
from service.state_client import connect
from service.tail import LiveEvent, decode_rows
from service.unfinished import claimed, folder_of, forget_ids, ids_of, note, noted
from tests import serving, worlds
from tests.traces import traces_of
from training.publish import write_keepsakes

WHO = "erase-me 顾客/0001"
FRIEND = "tea-0"


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


@pytest.fixture
def toy(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy", write_ms=60_000, read_ms=30_000)
    yield toy
    stop(toy.settings)


@asynccontextmanager
async def erasing_in(toy):
    control = ControlPlane.open(toy.settings)
    state = LiveState(connect(start_or_join(toy.settings), toy.settings), toy.settings, control.receipts.key())
    try:
        await state.open_shop("toy")
        yield Erasing(toy.settings, toy.shop, control, state)
    finally:
        await state.close()
        control.close()


def event(event_id, customer, item="tea1", **more):
    return LiveEvent(event_id, customer, EventKind.purchase, now_us(), item_id=item, **more)


def decision(customer, body=None):
    body = body or json.dumps({"request": {"customer_id": customer}}).encode()
    return Decision(mint_decision_id(customer, 16), customer, now_us(), "home", "r1", body)


def write_files(toy):
    """Tables in which the person buys, is known, is named by others, and is refused at the door."""
    folder = toy.shop.root.parent
    day = worlds.START
    rows = [(WHO, f"tea{n}", day + n) for n in range(4)] + [(f"tea-{n}", f"tea{n % 5}", day + n) for n in range(6)]
    pl.DataFrame(
        [{"event_id": f"f-{n}", "customer_id": who, "kind": "purchase", "at": at, "item_id": item}
         for n, (who, item, at) in enumerate(rows)]
    ).write_parquet(folder / "events.parquet")  # fmt: skip
    people = [{"customer_id": WHO, "inviter_id": None, "attributes": '{"nickname":"one of a kind"}'},
              {"customer_id": FRIEND, "inviter_id": WHO, "attributes": json.dumps({"met": WHO})}]  # fmt: skip
    (folder / "customers.jsonl").write_text("\n".join(json.dumps(p) for p in people) + "\n")
    (folder / "bad.jsonl").write_text(
        json.dumps({"customer_id": WHO, "purpose": "x", "at": "never", "state": "on"}) + "\n"
    )
    for table, file in (("events", "events.parquet"), ("customers", "customers.jsonl"), ("consents", "bad.jsonl")):
        ingest_file(toy.shop, table, folder / file)
    return folder


async def live_something(erasing):
    state = erasing.state
    await state.append_events("toy", [event("l-1", WHO), event("l-2", FRIEND, props=json.dumps({"sent by": WHO}))])
    await state.put_customer("toy", {"customer_id": WHO, "valid_from": 1, "attributes": '{"nickname":"live"}'})
    await state.put_customer("toy", {"customer_id": FRIEND, "valid_from": 1, "inviter_id": WHO, "tags": ["kept"]})
    row = {"customer_id": WHO, "purpose": "marketing", "channel": "sms", "at": 1, "state": "on"}
    await state.put_consent("toy", row)
    made = decision(WHO)
    await state.log_decision("toy", made)
    return made


def run(toy, story):
    async def whole():
        async with erasing_in(toy) as erasing:
            return await story(erasing)

    return asyncio.run(whole())


async def erase(erasing, customer=WHO):
    ids = await person_of(erasing, customer)
    receipt = await begin(erasing, ids, "test")
    done = await carry_out(erasing, ids)
    return end(erasing, receipt, ids, done.counts, done=not done.waiting), done


def audited(toy):
    """What the audit trail says, newest first."""
    control = ControlPlane.open(toy.settings)
    try:
        return [(row.actor, row.action, dict(row.details)) for row in control.audit("toy")]
    finally:
        control.close()


def roots_of(toy, folder):
    for name in ("events.parquet", "customers.jsonl", "bad.jsonl"):
        (folder / name).unlink(missing_ok=True)  # the caller's own files are the caller's
    return toy.settings.home


def test_nothing_of_an_erased_customer_is_left_in_any_file_and_others_keep_theirs(toy, models):
    folder = write_files(toy)
    toy.publish(models, "r1")

    async def story(erasing):
        made = await live_something(erasing)
        drain = Drain(erasing.state.client, "toy", erasing.lake, toy.shop.rejects_dir, 16)
        await drain.run()
        await erasing.state.append_events("toy", [event("l-3", WHO)])
        return await erase(erasing), await erasing.state.get_decision("toy", made.decision_id)

    home = roots_of(toy, folder)
    assert traces_of(WHO, home)
    (receipt, done), shown = run(toy, story)
    assert (receipt.state, done.waiting, shown) == ("done", (), None)
    assert receipt.counts["rows of events"] == 5
    assert receipt.counts["rows of decisions"] == 1
    assert traces_of(WHO, home) == []
    assert traces_of("one of a kind", home) == []
    lake = Lake(toy.shop.lake_dir)
    events = lake.scan("events").collect()
    assert sorted(events["event_id"]) == [*(f"f-{n}" for n in range(4, 10)), "l-2"]
    friend = lake.scan("customers").collect()
    assert friend["customer_id"].to_list() == [FRIEND, FRIEND]
    assert friend["inviter_id"].null_count() == 2
    assert friend["tags"].to_list()[-1] == ["kept"]

    async def after(erasing):
        found = await erasing.state.read("toy", FRIEND)
        assert found.attributes == {"customer_id": FRIEND, "valid_from": 1, "tags": ["kept"]}
        assert [row.event_id for row in decode_rows(found.tail)] == ["l-2"]

    run(toy, after)


def test_an_erased_customer_is_refused_by_every_door(toy):
    folder = write_files(toy)

    async def story(erasing):
        await erase(erasing)
        state = erasing.state
        for one in (event("f-1", WHO), event("l-9", WHO)):
            assert [r.outcome for r in await state.append_events("toy", [one])] == ["rejected"]
        assert await state.put_customer("toy", {"customer_id": WHO, "valid_from": 2}) == "rejected"
        assert await state.put_consent(
            "toy", {"customer_id": WHO, "purpose": "marketing", "at": 2, "state": "on"}) == "rejected"  # fmt: skip
        assert await state.log_decision("toy", decision(WHO)) == "rejected"
        assert (await state.read("toy", WHO)).status is Status.gone
        await state.put_customer("toy", {"customer_id": "new", "valid_from": 2, "inviter_id": WHO})
        assert "inviter_id" not in (await state.read("toy", "new")).attributes
        with pytest.raises(Erased):
            await export_archive(erasing, WHO)

    run(toy, story)
    report = ingest_file(toy.shop, "events", folder / "events.parquet")
    assert (report.accepted, report.duplicates, report.rejected, report.erased) == (0, 6, 0, 4)
    report = ingest_file(toy.shop, "customers", folder / "customers.jsonl")
    assert (report.erased, report.rejected) == (1, 0)
    report = ingest_file(toy.shop, "consents", folder / "bad.jsonl")
    assert (report.erased, report.accepted) == (1, 0)
    assert traces_of(WHO, roots_of(toy, folder)) == []


class Watched(Lake):
    """A lake that remembers what was written to it."""

    def __init__(self, root):
        super().__init__(root)
        self.written = []

    def write_part(self, table, rows):
        self.written.append(table)
        return super().write_part(table, rows)


@pytest.mark.parametrize("with_others", [True, False])
def test_a_drain_that_read_the_journal_before_the_erasure_writes_nothing_of_the_customer(toy, with_others):
    async def story(erasing):
        if with_others:
            await live_something(erasing)
        else:  # nothing else to commit, and nothing of his in the lake: the fence alone stops the drain
            await erasing.state.append_events("toy", [event("l-1", WHO)])
        lake = Watched(toy.shop.lake_dir)
        drain = Drain(erasing.state.client, "toy", lake, toy.shop.rejects_dir, 16)
        await asyncio.to_thread(drain._read_marks)
        ranges, in_hand = await drain._pending()
        await erase(erasing)
        with pytest.raises(Moved):
            await asyncio.to_thread(drain._commit, ranges, in_hand)
        assert lake.written == []
        done = await drain.run()
        assert done.entries == 0

    run(toy, story)
    assert traces_of(WHO, toy.settings.home) == []
    kept = Lake(toy.shop.lake_dir).scan("events").collect()["event_id"].to_list()
    assert kept == (["l-2"] if with_others else [])


def test_an_erasure_that_was_interrupted_goes_on_where_it_is_run_again(toy, models):
    folder = write_files(toy)
    toy.publish(models, "r1")

    async def interrupted(erasing):
        await live_something(erasing)
        ids = await person_of(erasing, WHO)
        receipt = await begin(erasing, ids, "test")
        assert receipt.state == "begun"
        assert (await erasing.state.read("toy", WHO)).status is Status.gone
        assert end(erasing, receipt, ids, {}, done=False).state == "begun"
        (digest,) = noted(toy.shop)
        assert ids_of(toy.shop, digest) == [WHO]  # whoever goes on must know whom it is about
        return receipt

    async def again(erasing):
        return await erase(erasing)

    first = run(toy, interrupted)
    receipt, _ = run(toy, again)
    assert (receipt.id, receipt.state) == (first.id, "done")
    assert traces_of(WHO, roots_of(toy, folder)) == []
    third, done = run(toy, again)
    assert (third.id, third.done_at, done.counts) == (receipt.id, receipt.done_at, {})


@pytest.mark.parametrize("step", ["supersede", "remove"])
@pytest.mark.parametrize(("then", "kept"), [("tea-3", ["r1-e1", "r2-e1"]), ("tea-1", ["r1-e2", "r2-e1"])])
def test_an_erasure_killed_between_a_revision_and_the_end_of_its_release_leaves_no_spare_one(
    toy, models, monkeypatch, step, then, kept
):
    """Run again, or followed by another person's, who finds the first one half gone."""
    for release_id in ("r1", "r2"):
        toy.publish(models, release_id)

    class Killed(BaseException):
        """Nothing of ours handles it."""

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(toy.releases), step, killed)
        with pytest.raises(Killed):
            run(toy, lambda erasing: erase(erasing, "tea-3"))
    assert "r1-e1" in [m.release_id for m in toy.releases.list()]
    (receipt, done) = run(toy, lambda erasing: erase(erasing, then))
    assert (receipt.state, done.waiting) == ("done", ())
    if step == "remove" and then == "tea-1":
        kept = ["r1-e2", "r2-e2"]  # both had their revisions already
    assert sorted(m.release_id for m in toy.releases.list()) == kept
    assert toy.releases.current_id() == kept[1]
    assert traces_of("tea-3", toy.shop.releases_dir) == traces_of(then, toy.shop.releases_dir) == []


def test_a_receipt_that_was_left_open_at_the_very_end_is_closed(toy):
    write_files(toy)

    async def interrupted(erasing):
        receipt = await begin(erasing, [WHO], "test")
        assert forget_ids(toy.shop, [WHO]) == noted(toy.shop) == [erasing.state.tomb("toy", WHO)]
        assert traces_of(WHO, folder_of(toy.shop)) == []
        return receipt

    receipt = run(toy, interrupted)
    Resumption(toy.settings).look(toy.shop)
    assert list(folder_of(toy.shop).iterdir()) == []

    async def found(erasing):
        return erasing.control.receipts.get("toy", receipt.id)

    assert run(toy, found).state == "done"


def test_an_erasure_that_somebody_is_at_is_left_to_him(toy, monkeypatch):
    monkeypatch.setattr("service.eraser.subprocess.Popen", None)  # starting another would fail
    note(toy.shop, b"d" * 16, [WHO])
    with claimed(toy.shop, b"d" * 16) as claim:
        assert claim is not None
        with claimed(toy.shop, b"d" * 16) as second:
            assert second is None
        Resumption(toy.settings).look(toy.shop)
    with pytest.raises(TypeError):
        Resumption(toy.settings).look(toy.shop)
    assert forget_ids(toy.shop, ["somebody else"]) == []


def test_a_damaged_note_of_an_erasure_is_named_and_one_of_nobody_known_leaves_nothing(toy):
    note(toy.shop, b"d" * 16, [WHO])
    (path,) = folder_of(toy.shop).glob("*.json")
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ArtifactCorrupt, match=path.name):
        ids_of(toy.shop, b"d" * 16)
    path.unlink()

    async def stranger(erasing):
        with claimed(toy.shop, erasing.state.tomb("toy", "nobody")), pytest.raises(NotKept):
            await begin(erasing, ["nobody"], "test")

    run(toy, stranger)
    assert list(folder_of(toy.shop).iterdir()) == []


def test_identities_of_one_person_are_erased_together(toy):
    phone = "phone-8613800000001"

    async def story(erasing):
        state = erasing.state
        await state.append_events("toy", [event("a-1", WHO), event("a-2", "other-person-77")])
        key = partition_prefix("toy", partition_of(phone, 16)) + b"c:" + phone.encode()
        await state.client.hset(key, "alias", WHO)
        rows = [("phone", phone, WHO), ("card", "other-person-77", WHO)]
        erasing.lake.append(
            "identities", pl.DataFrame(rows, schema=["id_type", "id_value", "customer_id"], orient="row")
        )
        ids = await person_of(erasing, phone)
        await erase(erasing, phone)
        refused = await state.append_events("toy", [event("a-3", phone), event("a-4", "other-person-77")])
        again = await person_of(erasing, phone)
        return ids, [r.outcome for r in refused], again

    ids, outcomes, again = run(toy, story)
    assert ids == [WHO, phone]
    assert outcomes == ["rejected", "stored"]  # a number that is also another customer's id is not his
    assert again == [phone]
    assert traces_of(WHO, toy.settings.home) == traces_of(phone, toy.settings.home) == []


def test_tombstones_survive_an_emptied_state_server(toy):
    async def story(erasing):
        await erasing.state.append_events("toy", [event("a-1", WHO)])
        await erase(erasing)
        await erasing.state.client.flushall()
        assert (await erasing.state.append_events("toy", [event("a-2", WHO)]))[0].outcome == "stored"
        await restore_tombstones(erasing.state, erasing.control.erased("toy"))
        assert (await erasing.state.append_events("toy", [event("a-3", WHO)]))[0].outcome == "rejected"

    run(toy, story)


def test_a_live_state_of_another_control_database_is_refused(toy):
    async def story(erasing):
        other = LiveState(erasing.state.client, toy.settings, b"another key")
        with pytest.raises(UsageError, match="control database"):
            await other.open_shop("toy")

    run(toy, story)


def test_the_archive_holds_everything_and_can_be_read(toy, models, tmp_path):
    write_files(toy)
    toy.publish(models, "r1")
    who = "tea-3"

    async def story(erasing):
        await erasing.state.append_events("toy", [event("x-1", who), event("x-2", FRIEND)])
        await erasing.state.put_consent(
            "toy", {"customer_id": who, "purpose": "personalization", "at": 1, "state": "off"})  # fmt: skip
        await Drain(erasing.state.client, "toy", erasing.lake, toy.shop.rejects_dir, 16).run()
        await erasing.state.append_events("toy", [event("x-3", who)])
        with pytest.raises(NotKept):
            await export_archive(erasing, "nobody-at-all")
        return await export_archive(erasing, who)

    (tmp_path / "him.zip").write_bytes(run(toy, story))
    with zipfile.ZipFile(tmp_path / "him.zip") as archive:

        def lines(name):
            return [json.loads(line) for line in archive.read(name).decode().splitlines()]

        assert [row["event_id"] for row in lines("events.jsonl")] == ["f-7", "x-1", "x-3"]
        assert [row["state"] for row in lines("consents.jsonl")] == ["off"]
        live = json.loads(archive.read("live.json"))[who]
        assert [row["event_id"] for row in live["recent"]] == ["x-1", "x-3"]
        (release,) = lines("releases.jsonl")
        assert (release["release"], release["serves"], len(release["history"])) == ("r1", True, 5)
        assert np.any(release["models"]["hybrid.customers"])
        assert set(release["models"]["userknn.votes"]) == {"tea0", "tea1", "tea2", "tea4", "bread"}
        assert "顾客" in archive.read("README.txt").decode()
        assert FRIEND not in archive.read("events.jsonl").decode()


def test_the_commands_say_what_they_did_and_refuse_who_is_not_known(toy, models, tmp_path, capsys):
    folder = write_files(toy)
    toy.publish(models, "r1")
    home = ["--home", str(toy.settings.home)]
    assert main(["export", "--shop", "toy", "--customer", WHO, "--out", str(tmp_path / "a.zip"), *home]) == 0
    assert zipfile.is_zipfile(tmp_path / "a.zip")
    assert audited(toy) == [("cli", "customer.export", {})]
    for command in (["export", "--out", str(tmp_path / "b.zip")], ["erase"]):
        assert main([*command, "--shop", "toy", "--customer", "nobody-at-all", *home]) == 2
    assert "No such customer is kept here" in capsys.readouterr().err
    assert len(audited(toy)) == 1
    assert main(["erase", "--shop", "toy", "--customer", WHO, *home]) == 0
    said = capsys.readouterr().out
    assert "rows of events: 4" in said
    receipt = re.search(r"Receipt (e\w+)", said)[1]
    assert audited(toy)[0] == ("cli", "customer.erase", {"receipt": receipt})
    assert main(["export", "--shop", "toy", "--customer", WHO, "--out", str(tmp_path / "b.zip"), *home]) == 2
    assert traces_of(WHO, roots_of(toy, folder)) == []
    assert len(read_erased(toy.shop).digests) == 1


def test_an_archive_is_not_written_over_a_file_unless_that_is_said(toy, tmp_path, capsys):
    write_files(toy)
    out = tmp_path / "a.zip"
    words = ["export", "--shop", "toy", "--customer", WHO, "--home", str(toy.settings.home), "--out", str(out)]
    out.write_text("of another customer")
    assert main(words) == 2
    assert f"{out} is there already; choose a new name, or say --force." in capsys.readouterr().err
    assert (out.read_text(), audited(toy)) == ("of another customer", [])
    assert main([*words, "--force"]) == 0
    assert zipfile.is_zipfile(out)
    out.unlink()
    out.mkdir()
    assert main([*words, "--force"]) == 2
    assert f"{out} is a directory; choose a new name." in capsys.readouterr().err


def test_a_short_id_takes_nothing_from_others_that_only_looks_like_it(toy):
    async def story(erasing):
        state = erasing.state
        await state.append_events(
            "toy", [event("s-1", "7", item="p9"), event("s-2", "8", item="7", order_id="7", props='{"size":"7"}')]
        )
        await erase(erasing, "7")

    run(toy, story)
    (row,) = Lake(toy.shop.lake_dir).scan("events").collect().to_dicts()
    assert (row["customer_id"], row["item_id"], row["order_id"], row["props"]) == ("8", "7", "7", '{"size":"7"}')


def test_what_still_names_a_customer_is_found(tmp_path):
    (tmp_path / "a.log").write_text("x erase-me-0001 y")
    (tmp_path / "b.log").write_text("x erase-me-00012 y")
    found = still_named(sorted(tmp_path.iterdir()), Person.of(["erase-me-0001"]))
    assert [path.name for path in found] == ["a.log"]


def test_forgetting_is_one_step_and_counts_the_keys(toy):
    async def story(erasing):
        await live_something(erasing)
        assert await forget(erasing.state, "toy", [WHO]) == 2
        assert await forget(erasing.state, "toy", [WHO]) == 0

    run(toy, story)


def test_a_training_that_read_the_customer_before_the_erasure_leaves_nothing_of_him(toy):
    """What it publishes afterwards is revised when it ends (`pond train` asks for this in the end, however it ends)."""
    write_files(toy)

    async def story(erasing):
        dataset = build_dataset(erasing.lake, "toy", worlds.TIMEZONE)  # what a training has in hand …
        await erase(erasing)
        return serving.fitted(dataset)

    models = run(toy, story)
    toy.publish(models, "r9")  # … and publishes later
    runs = toy.shop.root / "runs" / "r9"
    write_keepsakes(toy.releases.load("r9"), runs)
    home = roots_of(toy, toy.shop.root.parent)
    assert traces_of(WHO, home)
    forget_what_came_back(Session.of(home, {}, quiet=True), toy.shop)
    assert traces_of(WHO, home) == []
    assert toy.releases.current_id() == "r9-e1"
    assert FRIEND in toy.releases.load("r9-e1").models.customers.ids


def test_a_decision_made_while_the_customer_is_erased_is_made_anew_without_him(toy, models):
    toy.publish(models, "r1")

    async def story(erasing):
        sets, metrics = ServingSets(), Metrics()
        sets.swap(ServingSet.of(toy.shop, toy.releases.load("r1")))
        spool = Spool(toy.settings.spool)

        class ErasedMeanwhile(LiveState):
            async def log_decision(self, shop, decision):
                await forget(erasing.state, "toy", ["tea-3"])
                return await super().log_decision(shop, decision)

        state = ErasedMeanwhile(erasing.state.client, toy.settings, erasing.control.receipts.key())
        books = RuleBooks(RuleStore(erasing.control.engine))
        decider = Decider(sets, state, spool, toy.settings, metrics, now_us, LakeWords(state), books=books)
        asked = [Command.of(RecommendRequest(customer_id=who, scene="home", k=3)) for who in ("tea-3", "a stranger")]
        answer, other = [await decider.decide("toy", command) for command in asked]
        row = await state.get_decision("toy", answer.decision_id)
        assert answer.items == other.items
        assert row["customer_id"] == "(nobody)"
        assert "tea-3" not in row["body"]

    run(toy, story)


def test_spooled_decisions_of_the_customer_are_taken_out_of_the_spool(toy):
    async def fill():
        spool = Spool(toy.settings.spool)
        for who in (WHO, FRIEND):
            await spool.append("toy", decision(who).row())
        spool.close()

    async def story(erasing):
        await erasing.state.append_events("toy", [event("a-1", WHO)])
        receipt, _ = await erase(erasing)
        return receipt

    asyncio.run(fill())
    receipt = run(toy, story)
    assert receipt.counts["spooled decisions"] == 1
    assert traces_of(WHO, toy.settings.home) == []
    (file,) = toy.settings.spool.iterdir()
    assert [json.loads(line)["row"]["customer_id"] for line in file.read_text().splitlines()] == [FRIEND]
