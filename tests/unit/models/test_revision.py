"""A release without a customer: what takes its place, what is left of him in its files, what others are answered."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.errors import ReleaseError
from models.catalogue import SOURCES
from models.config import validated_pipeline_config
from models.release import read_manifest, verify_files, write_release
from models.release_store import DirectoryStore
from models.revision import is_nobody, revise, without
from models.slate import Request
from models.trained import Models
from tests import worlds
from tests.traces import traces_of

WHO = "hermit-顾客-0001"


@pytest.fixture(scope="module")
def dataset():
    rows = [(f"{t}-{who}", f"{t}{i}", 10 + who + i) for t in ("tea", "mud") for who in range(4) for i in range(4)
            if i != who]  # fmt: skip
    rows += [(WHO, "cave", day) for day in (3, 5, 9)]
    rows += [(who, "content:film", 4 + n, "view") for n, who in enumerate((WHO, WHO, "tea-0", "mud-1"))]
    people = [{"customer_id": WHO, "attributes": '{"nickname": "the one of the cave", "region": "hill"}'}]
    people += [{"customer_id": f"tea-{n}", "attributes": '{"region": "hill"}', "inviter_id": WHO} for n in range(4)]
    return worlds.world(rows, customers=people, products=[{"product_id": f"tea{i}"} for i in range(4)], as_of=40)


@pytest.fixture(scope="module")
def models(dataset):
    config = validated_pipeline_config({}, "test")
    fitted = {n: SOURCES[n].fit(dataset, config.source(n), np.random.default_rng(0)) for n in SOURCES}
    return Models.of(dataset, config, fitted)


@pytest.fixture
def store(tmp_path, models):
    store = DirectoryStore(tmp_path / "releases")
    for release_id in ("r1", "r2"):
        facts = {"release_id": release_id, "shop": "toy", "created_at": 1, "dataset_digest": "d"}
        store.publish(release_id, lambda path, facts=facts: write_release(models, path, facts))
        store.promote(release_id)
    return store


def slates(models, customers):
    return [
        models.pipeline.recommend(
            Request(models.query(models.customers.ids.idx(who), worlds.day(41)), scene, 8), models.items
        )
        for who in customers
        for scene in models.config.all_scenes
    ]  # fmt: skip


def test_a_revision_takes_the_place_of_its_release_and_nothing_of_the_customer_is_in_its_files(store, models):
    assert traces_of(WHO, store.root / "r2")
    assert revise(store, "r2", [WHO]) == "r2-e1"
    assert store.current_id() == "r2-e1"
    manifest = read_manifest(store.root / "r2-e1")
    verify_files(store.root / "r2-e1", manifest)
    assert manifest.revision_of == "r2"
    assert traces_of(WHO, store.root / "r2-e1") == []
    assert traces_of("the one of the cave", store.root / "r2-e1") == []
    assert traces_of("hill", store.root / "r2-e1")  # what others are, too


def test_a_revision_counts_who_and_what_is_left(store, dataset, models):
    facts = {"release_id": "r3", "shop": "toy", "created_at": 1, "dataset_digest": "d", "counts": dataset.counts}
    store.publish("r3", lambda path: write_release(models, path, facts))
    old = replace(models, other_histories={})  # of a release made before it kept them
    store.publish("r4", lambda path: write_release(old, path, facts | {"release_id": "r4"}))
    said = [dict(read_manifest(store.root / one).counts) for one in ("r3", revise(store, "r3", [WHO]),
                                                                     revise(store, "r3-e1", ["tea-0"]))]  # fmt: skip
    assert [one["customers"] for one in said] == [9, 8, 7]
    assert [one["purchases"] for one in said] == [one["product_events"] for one in said] == [27, 24, 21]
    assert {one["products"] for one in said} == {len(dataset.products)}
    assert [one["content_events"] for one in said] == [4, 2, 1]
    assert read_manifest(store.root / revise(store, "r4", [WHO])).counts.keys() == said[0].keys() - {
        "content_events", "bundle_events"
    }  # fmt: skip


def test_everybody_else_is_answered_as_before(store, models):
    revise(store, "r2", [WHO])
    after = store.load("r2-e1").models
    others = [who for who in models.customers.ids if who != WHO]
    assert slates(after, [*others, "stranger"]) == slates(models, [*others, "stranger"])
    assert after.customers.ids.idx(WHO) == -1
    gone = models.customers.ids.idx(WHO)
    assert is_nobody(after.customers.ids.text(gone))
    assert len(after.histories.of(gone)) == 0
    assert after.attributes(gone) == {}
    for who in others:
        idx = models.customers.ids.idx(who)
        assert after.customers.ids.idx(who) == idx
        assert np.array_equal(after.histories.of(idx).at, models.histories.of(idx).at)


def test_other_peoples_mention_of_the_customer_goes_too(models):
    after = without(models, [WHO])
    assert after.customers.frame["inviter_id"].null_count() == len(after.customers.frame)
    assert after.customers.frame.filter(pl.col("customer_id") == "tea-1")["attributes"].to_list() == [
        '{"region": "hill"}'
    ]


def test_rolling_back_leads_to_revisions_only(store):
    for release_id in ("r1", "r2"):
        revise(store, release_id, [WHO])
        assert store.remove(release_id, 0)
    assert store.rollback() == "r1-e1"
    with pytest.raises(ReleaseError):
        store.promote("r2")


def test_a_release_that_somebody_has_mounted_is_not_removed(store):
    held = store.load("r2")
    revise(store, "r2", [WHO])
    assert not store.remove("r2", 0)
    assert (store.root / "r2").is_dir()
    del held
    assert store.remove("r2", 0)
    assert not (store.root / "r2").exists()


def test_what_serves_or_may_be_rolled_back_to_is_not_removed(store):
    for release_id in ("r1", "r2"):
        with pytest.raises(ReleaseError, match="cannot be removed"):
            store.remove(release_id, 0)


def test_who_is_not_known_to_a_release_leaves_it_as_it_is(store, models):
    assert without(models, ["nobody", "hermit"]) is models
    assert revise(store, "r2", ["nobody"]) is None
    assert store.current_id() == "r2"


def test_a_customer_erased_after_another_gets_a_revision_of_the_revision(store):
    assert revise(store, "r2", [WHO]) == "r2-e1"
    assert revise(store, "r2-e1", ["tea-0"]) == "r2-e2"
    models = store.load("r2-e2").models
    assert [models.customers.ids.idx(who) for who in (WHO, "tea-0")] == [-1, -1]
    assert sum(map(is_nobody, models.customers.ids)) == 2
    assert store.current_id() == "r2-e2"


def test_what_a_killed_publication_left_behind_is_swept(store):
    (store.root / ".writing-r3" / "customers").mkdir(parents=True)
    (store.root / ".removing-r0").mkdir()
    assert store.sweep_unfinished() == 2
    assert sorted(p.name for p in store.root.iterdir() if p.is_dir()) == ["r1", "r2"]


def test_one_revision_after_the_other_each_has_a_name_of_its_own(store, models):
    release_id = "r2"
    for number, who in enumerate(models.customers.ids.texts[:4], 1):
        revision = revise(store, release_id, [who])
        assert revision == f"r2-e{number}"
        assert store.remove(release_id, 5.0)
        release_id = revision
