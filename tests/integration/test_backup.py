import shutil
import sqlite3
import tarfile
from contextlib import closing

import pytest

from features.errors import ArtifactCorrupt, ReleaseError, UsageError
from features.lake import Lake
from features.shop import create_shop, open_shop
from service import archive, guardian
from service.backup import back_up, restore
from service.control import ControlPlane, Role
from tests import serving, worlds
from tests.conformance.live_state import now_us


def quiet(_text):
    """Nobody watches."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A served home with two shops, its backup, and what it answered."""
    root = tmp_path_factory.mktemp("kept")
    toy = serving.open_toy_shop(root / "home", "toy")
    other = serving.ToyShop(create_shop(root / "home", "other", worlds.TIMEZONE), toy.settings)
    toy.publish(serving.toy_models(), "r1")
    other.headers()
    said = {}
    try:
        with serving.served(toy) as client:
            events = [
                {"event_id": f"e{n}", "customer_id": f"tea-{n % 3}", "kind": "purchase", "at": now_us(),
                 "item_id": f"coffee{n % 5}"}
                for n in range(40)
            ]  # fmt: skip
            assert client.post("/v1/events", json={"events": events}).status_code == 202
            client.put("/v1/products/bread", json={"title": "rye bread", "stock": 0})
            client.put("/v1/customers/tea-1", json={"attributes": {"region": "Suzhou"}})
            client.put("/v1/customers/tea-2/consent", json={"purpose": "personalization", "state": "off"})
            said["before"] = asked(client)
            said["decision"] = client.post("/v1/recommend", json={"customer_id": "tea-0"}).json()["decision_id"]
            said["kept"] = back_up(toy.settings, root / "whole", None, now_us(), quiet)
            back_up(toy.settings, root / "one.tar", "toy", now_us(), quiet)
            client.post("/v1/events", json={"events": [{**events[0], "event_id": "afterwards"}]})
        yield root, toy, said
    finally:
        guardian.stop(toy.settings)


def asked(client):
    """What a shop sees of its state: slates, profiles, items."""
    slates = [
        client.post("/v1/recommend", json={"customer_id": f"tea-{n}", "scene": scene, "k": 6}).json()
        for n in range(5) for scene in ("home", "rebuy", "popular")
    ]  # fmt: skip
    return (
        [([i["item_id"] for i in slate["items"]], slate["degraded"], slate["release"]) for slate in slates],
        [client.get(f"/v1/customers/tea-{n}").json() for n in range(4)],
        client.get("/v1/products/bread").json(),
    )


def test_a_log_that_was_cut_is_kept_and_comes_back(tmp_path):
    toy = serving.open_toy_shop(tmp_path / "home", "toy")
    lake = Lake(toy.shop.lake_dir)
    for n in range(6):
        lake.append("consents", worlds.rows_of("consents", [{"customer_id": f"c{n}", "at": n}]), source="some.csv")
        if n in (2, 4):
            assert lake.compact("consents", cut_after_s=-1) is not None
    assert lake.sweep("consents")
    log = sorted(path.name for path in (lake.root / "consents" / "_log").iterdir())
    try:
        back_up(toy.settings, tmp_path / "kept", None, now_us(), quiet)
        settings = toy.settings.model_copy(update={"home": tmp_path / "new"})
        restore(settings, tmp_path / "kept", now_us(), quiet)
    finally:
        guardian.stop(toy.settings)
        guardian.stop(settings)
    again = Lake(open_shop(settings.home, "toy").lake_dir)
    assert sorted(path.name for path in (again.root / "consents" / "_log").iterdir()) == log
    assert again.scan("consents").collect()["customer_id"].to_list() == [f"c{n}" for n in range(6)]


@pytest.mark.parametrize("name", ["whole", "one.tar"])
def test_a_restored_home_answers_as_the_one_it_was_made_of(kept, tmp_path, name):
    root, toy, said = kept
    settings = toy.settings.model_copy(update={"home": tmp_path / "new" / "home"})
    assert "toy" in restore(settings, root / name, now_us(), quiet)
    again = serving.ToyShop(open_shop(settings.home, "toy"), settings)
    try:
        with serving.served(again) as client:
            assert asked(client) == said["before"]
            assert client.get(f"/v1/decisions/{said['decision']}").status_code == 200
            event = {"event_id": "e0", "customer_id": "tea-0", "kind": "view", "at": now_us(), "item_id": "bread"}
            assert client.post("/v1/events", json={"events": [event]}).json()["results"][0]["result"] == "conflict"
    finally:
        guardian.stop(settings)
    ids = Lake(again.shop.lake_dir).scan("events").collect()["event_id"].to_list()
    assert sorted(ids) == sorted(f"e{n}" for n in range(40))
    with pytest.raises(UsageError, match="not empty"):
        restore(settings, root / name, now_us(), quiet)


def test_a_backup_of_one_shop_holds_nothing_of_another(kept, tmp_path):
    root, _, _ = kept
    with tarfile.open(root / "one.tar") as tar:
        names = tar.getnames()
        tar.extract("home/control.db", tmp_path, filter="data")
    assert not [name for name in names if "other" in name]
    with closing(sqlite3.connect(tmp_path / "home" / "control.db")) as db:
        assert {shop for (shop,) in db.execute("SELECT shop FROM keys UNION SELECT shop FROM audit")} == {"toy"}
    assert b"other" not in (tmp_path / "home" / "control.db").read_bytes()


def test_keys_go_on_working(kept, tmp_path):
    root, toy, _ = kept
    settings = toy.settings.model_copy(update={"home": tmp_path / "home"})
    restore(settings, root / "whole", now_us(), quiet)
    planes = [ControlPlane.open(one) for one in (toy.settings, settings)]
    assert planes[0].live_keys() == planes[1].live_keys() != {}
    assert planes[1].create_key("toy", Role.backend)
    for plane in planes:
        plane.close()


def test_every_damage_is_refused_with_the_name_of_the_file_and_no_home_appears(kept, tmp_path):
    root, toy, _ = kept
    files = sorted(p for p in (root / "whole").rglob("*") if p.is_file())
    chosen = [files[n * len(files) // 5] for n in range(5)] + [root / "whole" / "manifest.json"]
    settings = toy.settings.model_copy(update={"home": tmp_path / "home"})
    copy = tmp_path / "copy"
    shutil.copytree(root / "whole", copy)
    for n, path in enumerate(chosen):
        victim = copy / path.relative_to(root / "whole")
        whole = victim.read_bytes()
        if not whole:
            continue
        damaged = bytearray(whole)
        damaged[len(whole) * n // len(chosen)] ^= 1 << n % 8
        for content in (bytes(damaged), whole[:-1], None):
            victim.unlink() if content is None else victim.write_bytes(content)
            with pytest.raises(ArtifactCorrupt) as refused:
                restore(settings, copy, now_us(), quiet)
            assert str(victim.relative_to(copy)) in str(refused.value)
            victim.write_bytes(whole)
    (copy / "home" / "extra").write_text("x")
    with pytest.raises(ArtifactCorrupt, match="home/extra: does not belong here"):
        restore(settings, copy, now_us(), quiet)
    assert not settings.home.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_a_damaged_lake_is_not_backed_up(kept, tmp_path):
    root, toy, _ = kept
    home = tmp_path / "home"
    shutil.copytree(root / "whole" / "home", home)
    part = next((home / "shops" / "toy" / "lake" / "events").glob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[50] ^= 1
    part.write_bytes(bytes(data))
    settings = toy.settings.model_copy(update={"home": home})
    with pytest.raises(ArtifactCorrupt, match=part.name):
        back_up(settings, tmp_path / "out", None, now_us(), quiet)
    assert not (tmp_path / "out").exists()


def test_a_backup_is_never_written_over_something_nor_into_its_home(kept, tmp_path):
    root, toy, _ = kept
    with pytest.raises(UsageError, match="there already"):
        back_up(toy.settings, root / "whole", None, now_us(), quiet)
    with pytest.raises(UsageError, match="inside"):
        back_up(toy.settings, toy.settings.home / "backup", None, now_us(), quiet)
    with pytest.raises(UsageError, match="no backup"):
        restore(toy.settings.model_copy(update={"home": tmp_path / "h"}), tmp_path / "none", now_us(), quiet)


@pytest.mark.parametrize("name", ["b.zip", "b.tar.gz", "b.TGZ", "b.Tar"])
def test_a_backup_is_not_named_like_what_it_is_not(kept, tmp_path, name):
    _, toy, _ = kept
    with pytest.raises(UsageError, match=rf"^{name}: a backup is a directory, or one file whose name ends in \.tar"):
        back_up(toy.settings, tmp_path / name, None, now_us(), quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_makes_no_directories_above_it_and_goes_into_an_empty_one(kept, tmp_path):
    _, toy, _ = kept
    with pytest.raises(UsageError, match=r"There is no directory .*/nowhere; create it first"):
        back_up(toy.settings, tmp_path / "nowhere" / "b", None, now_us(), quiet)
    assert list(tmp_path.iterdir()) == []
    for name in ("there", "there.tar"):
        (tmp_path / name).mkdir()
    back_up(toy.settings, tmp_path / "there", None, now_us(), quiet)
    with pytest.raises(UsageError, match=r"there\.tar is there already"):
        back_up(toy.settings, tmp_path / "there.tar", None, now_us(), quiet)


def test_what_is_no_backup_is_said_to_be_none_by_the_name_that_was_given(kept, tmp_path):
    root, toy, _ = kept
    settings = toy.settings.model_copy(update={"home": tmp_path / "new" / "home"})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    (tmp_path / "text.tar").write_text("x")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "folder" / "notes.txt", "notes.txt")
    release = root / "whole" / "home" / "shops" / "toy" / "releases" / "r1"  # it has a manifest.json too
    for given in (tmp_path / "folder", tmp_path / "text.tar", tmp_path / "other.tar", release, root / "home"):
        with pytest.raises(UsageError) as refused:
            restore(settings, given, now_us(), quiet)
        assert str(refused.value) == f"{given} holds no Pond backup; give what `pond backup` wrote."
    assert not settings.home.exists()
    assert [p.name for p in tmp_path.rglob(".*")] == []


def test_a_damaged_backup_does_not_send_for_itself(kept, tmp_path):
    root, toy, _ = kept
    shutil.copytree(root / "whole", tmp_path / "copy")
    (tmp_path / "copy" / "manifest.json").unlink()
    with pytest.raises(ArtifactCorrupt) as refused:
        restore(toy.settings.model_copy(update={"home": tmp_path / "home"}), tmp_path / "copy", now_us(), quiet)
    assert str(refused.value).startswith("manifest.json: is missing; this backup is damaged")
    assert str(tmp_path) not in str(refused.value)


def test_a_backup_of_a_newer_pond_and_one_that_would_leave_its_place_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", 99)
    with archive.written(tmp_path / "newer") as (_, finish):
        finish({"partitions": 16, "lakes": {}})
    monkeypatch.undo()
    with pytest.raises(ReleaseError, match="upgrade Pond"), archive.opened(tmp_path / "newer", tmp_path / "home"):
        pass
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "x", "../outside")
    with pytest.raises(ArtifactCorrupt), archive.opened(tmp_path / "evil.tar", tmp_path / "deep" / "home"):
        pass
    assert not list(tmp_path.rglob("outside"))
