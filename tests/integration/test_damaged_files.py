"""Damaged files of a release and of the lake: refused by name, never executed, never served, never another error."""

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.commits import commit_text
from features.errors import ArtifactCorrupt, ContractError, PondError
from features.lake import Lake
from features.shop import create_shop, open_shop
from models.release import MANIFEST, file_digest, load_release
from models.release_store import POINTER, DirectoryStore
from tests import serving, worlds

FLIPS = 3  # random bytes per file
CUTS = 2  # random lengths per file


def files_of(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def damaged(content, rng, flips=FLIPS, cuts=CUTS):
    """Copies of a file's bytes with one byte changed, cut short, and with something behind."""
    for _ in range(flips if content else 0):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        yield bytes(changed)
    for _ in range(cuts if content else 0):
        yield content[: rng.randrange(len(content))]
    yield content + b"\0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("shop")
    shop = create_shop(place, "toy", worlds.TIMEZONE)
    toy = serving.ToyShop(shop, None)
    models = serving.toy_models()
    for release in ("r1", "r2"):
        toy.publish(models, release)
    return place, models


@pytest.fixture
def store(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "home")
    return DirectoryStore(open_shop(tmp_path / "home", "toy").releases_dir)


def refused(store, name, *acts):
    """The release is neither promoted nor loaded, and the refusal names the file."""
    for act in acts or (store.load, store.promote):
        with pytest.raises(ArtifactCorrupt) as told:
            act("r1")
        assert name in told.value.path, (name, str(told.value))
    assert store.current_id() == "r2"


def test_every_file_of_a_release_is_refused_by_name_when_it_is_damaged(store, tell):
    root, rng, n = store.root / "r1", random.Random(1), 0
    files = files_of(root)
    for path in files:
        content = path.read_bytes()
        for changed in damaged(content, rng):
            path.write_bytes(changed)
            refused(store, path.name, (store.load, store.promote)[n % 2])
            n += 1
        path.unlink()
        refused(store, path.name)
        path.write_bytes(content)
        n += 1
    store.promote("r1")
    tell(f"release: {n} damages of {len(files)} files")


def test_files_that_are_added_swapped_or_links_are_refused(store, tmp_path):
    root = store.root / "r1"
    (outside := tmp_path / "outside").mkdir()
    for number, path in enumerate(p for p in files_of(root) if p.name != MANIFEST):
        content = path.read_bytes()
        (outside / str(number)).write_bytes(content)
        path.unlink()
        path.symlink_to(outside / str(number))  # the very same bytes, but not the release's own
        refused(store, path.name)
        path.unlink()
        path.write_bytes(content)
    for extra in ("evil.npy", "sources/evil.pkl", "rankers/x.json"):
        (root / extra).write_bytes(b"x")
        refused(store, Path(extra).name)
        (root / extra).unlink()
    (root / "sources" / "more").symlink_to(outside)
    refused(store, "more")
    (root / "sources" / "more").unlink()
    os.mkfifo(root / "pipe")
    refused(store, "pipe")
    (root / "pipe").unlink()
    one, two = [p for p in files_of(root) if p.suffix == ".npy" and p.stat().st_size > 200][:2]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    refused(store, ".npy")
    one.write_bytes(first)
    two.write_bytes(second)
    (root / MANIFEST).write_bytes((store.root / "r2" / MANIFEST).read_bytes())
    refused(store, MANIFEST)


def test_a_release_that_is_a_link_is_refused(store, tmp_path):
    (store.root / "r1").rename(tmp_path / "elsewhere")
    (store.root / "r1").symlink_to(tmp_path / "elsewhere")
    refused(store, "r1")


def test_a_manifest_edited_with_a_matching_checksum_of_the_file_is_refused(store):
    root = store.root / "r1"
    config = root / "config.json"
    config.write_text(config.read_text() + " ")
    said = json.loads((root / MANIFEST).read_text())
    said["files"]["config.json"] = file_digest(config)
    (root / MANIFEST).write_text(json.dumps(said, indent=1))
    refused(store, MANIFEST)


class Bomb:
    """Unpickling this writes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.write_text, (self.mark, "executed"))


def test_nothing_in_a_release_is_executed_even_when_all_checksums_are_right(store, tmp_path, tell):
    root, mark, n = store.root / "r1", tmp_path / "mark", 0
    for path in [p for p in files_of(root) if p.name != MANIFEST]:
        content = path.read_bytes()
        np.save(tmp_path / "bomb.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
        evil = (tmp_path / "bomb.npy").read_bytes() if path.suffix == ".npy" else pickle.dumps(Bomb(mark))
        path.write_bytes(evil)
        with pytest.raises(ArtifactCorrupt):
            load_release(root, verify=False)  # as if every checksum had been made right
        n += 1
        path.write_bytes(content)
    assert not mark.exists()
    tell(f"release: {n} pickles under right checksums, none executed")


def test_damage_under_right_checksums_is_an_error_of_the_file_or_loads(store, tell):
    root, rng, errors, n = store.root / "r1", random.Random(2), 0, 0
    told = []
    for path in [p for p in files_of(root) if p.suffix in (".npy", ".json", ".parquet") and p.name != MANIFEST]:
        content = path.read_bytes()
        for changed in damaged(content, rng, flips=1, cuts=1):
            path.write_bytes(changed)
            n += 1
            try:
                load_release(root, verify=False)
            except PondError as error:
                errors += 1
                told.append(str(error))
        path.write_bytes(content)
    assert errors > n / 4
    assert all(str(root) in sentence for sentence in told)
    tell(f"release: {n} damages under right checksums, {errors} refused, the others are other values")


def test_a_damaged_pointer_never_names_another_release(store, tell):
    pointer, rng = store.root / POINTER, random.Random(3)
    content, n = pointer.read_bytes(), 0
    for _ in range(30):
        for changed in damaged(content, rng):
            pointer.write_bytes(changed)
            with pytest.raises(ArtifactCorrupt, match=POINTER):
                store.current_id()
            n += 1
    tell(f"pointer: {n} damages")


def as_kept(lake, table, rows):
    schema = lake.scan(table).collect_schema()
    return rows.select(pl.col(name).cast(kind) for name, kind in schema.items())


@pytest.fixture
def lake(tmp_path):
    made = Lake(tmp_path / "lake")
    for start in range(3):
        rows = worlds.events([(f"c{i}", f"p{i % 7}", i) for i in range(start * 40, start * 40 + 40)])
        rows = rows.with_columns(event_id=pl.format("{}-{}", pl.lit(start), "event_id"))
        made.append("events", as_kept(made, "events", rows), source="test")
    made.compact("events")
    made.append("products", as_kept(made, "products", worlds.rows_of("products", [{"product_id": "p1"}])))
    return made


def read_all(root):
    fresh = Lake(root)
    return {table: fresh.scan(table).collect() for table in ("events", "products")}


def test_every_file_of_the_lake_is_refused_by_name_when_it_is_damaged(lake, tell):
    whole, rng, n = read_all(lake.root), random.Random(4), 0
    named = {part.name for table in whole for part in lake.parts(table)}
    files = [p for p in files_of(lake.root) if p.name in named or "_log" in p.parts]
    newest = {max((lake.root / table / "_log").iterdir()) for table in whole}
    for path in files:
        content = path.read_bytes()
        is_read = path.suffix == ".parquet" or path in newest  # commits under a compaction are read by the keeper only
        for changed in damaged(content, rng):
            path.write_bytes(changed)
            with pytest.raises(ArtifactCorrupt) as told:
                read_all(lake.root) if is_read else Lake(lake.root).commits(path.parent.parent.name)
            assert path.name in told.value.path
            n += 1
        path.unlink()
        if path not in newest:  # that the newest commit is gone no other file knows: docs/guarantees.md
            with pytest.raises(ArtifactCorrupt):
                read_all(lake.root)
            n += 1
        path.write_bytes(content)
    assert all(read_all(lake.root)[table].equals(rows) for table, rows in whole.items())
    tell(f"lake: {n} damages of {len(files)} files")


def test_files_of_the_lake_that_are_links_swapped_or_strange_are_refused(lake, tmp_path):
    part = lake.root / "events" / lake.parts("events")[0].name
    commit = max((lake.root / "events" / "_log").iterdir())
    for path in (part, commit):
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content)
        path.unlink()
        path.symlink_to(tmp_path / path.name)
        with pytest.raises(ArtifactCorrupt, match=path.name):
            read_all(lake.root)
        path.unlink()
        path.write_bytes(content)
    other = lake.root / "products" / lake.parts("products")[0].name
    content = part.read_bytes()
    part.write_bytes(other.read_bytes())
    with pytest.raises(ArtifactCorrupt, match=part.name):
        read_all(lake.root)
    part.write_bytes(content)
    (lake.root / "events" / "part-stray.parquet").write_bytes(b"no commit names it")
    read_all(lake.root)
    (commit.parent / "evil.json").write_bytes(b"{}")
    with pytest.raises(ArtifactCorrupt, match="no commit"):
        read_all(lake.root)


def test_a_table_that_is_a_link_to_another_shops_is_refused(lake, tmp_path):
    (mine := tmp_path / "mine").mkdir()
    (mine / "events").symlink_to(lake.root / "events")
    with pytest.raises(ArtifactCorrupt, match="link"):
        Lake(mine).scan("events")


def test_a_commit_cannot_name_a_file_outside_its_table(lake, tmp_path):
    path = max((lake.root / "events" / "_log").iterdir())
    stated = json.loads(path.read_text())["commit"]
    for name in ("../products/x.parquet", "/etc/passwd", "part-1.parquet", "..", "part-" + "0" * 32 + ".parquet/../x"):
        stated["added"][0]["name"] = name
        path.write_text(commit_text(stated))
        with pytest.raises(ArtifactCorrupt, match=r"cannot be a part"):
            read_all(lake.root)


def test_a_shop_that_is_a_link_to_another_shop_is_refused(tmp_path):
    create_shop(tmp_path, "mine", worlds.TIMEZONE)
    (tmp_path / "shops" / "other").symlink_to(tmp_path / "shops" / "mine")
    with pytest.raises(ContractError, match="another shop"):
        open_shop(tmp_path, "other")
    (tmp_path / "shops" / "other").unlink()
    create_shop(tmp_path, "other", worlds.TIMEZONE)
    (tmp_path / "shops" / "other" / "lake").rmdir()
    (tmp_path / "shops" / "other" / "lake").symlink_to(tmp_path / "shops" / "mine" / "lake")
    with pytest.raises(ContractError, match="another shop"):
        open_shop(tmp_path, "other")
    (tmp_path / "disk").mkdir()
    (tmp_path / "shops" / "mine").rename(tmp_path / "disk" / "mine")
    (tmp_path / "shops" / "mine").symlink_to(tmp_path / "disk" / "mine")
    assert open_shop(tmp_path, "mine").name == "mine"  # a shop may stand on another disk
