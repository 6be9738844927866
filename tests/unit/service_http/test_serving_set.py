import pytest

from features.errors import ReleaseError
from features.shop import create_shop
from features.watermarks import Watermark, read_watermarks
from models.query import NO_ITEMS
from models.release import write_release
from models.release_store import DirectoryStore
from service.problems import NoRelease
from service.serving_set import ServingSet, ServingSets
from tests import serving, worlds


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    models = serving.fitted(worlds.two_tastes(), ("popular", "newest"))
    facts = {"release_id": "r1", "shop": "toy", "created_at": 1, "dataset_digest": "d", "watermarks": {"c": "ep:5-0"}}
    store = DirectoryStore(tmp_path_factory.mktemp("releases"))
    return store.publish("r1", lambda path: write_release(models, path, facts))


@pytest.fixture
def serving_set(tmp_path, release):
    return ServingSet.of(create_shop(tmp_path, "toy", worlds.TIMEZONE), release)


def row(product_id, **more):
    return {"product_id": product_id, "valid_from": worlds.day(50)} | more


def test_a_release_of_another_shop_is_refused(tmp_path, release):
    with pytest.raises(ReleaseError, match="belongs to the shop 'toy'"):
        ServingSet.of(create_shop(tmp_path, "other", worlds.TIMEZONE), release)


def test_it_begins_at_the_releases_watermarks(serving_set):
    assert serving_set.catalogue == "5-0"
    assert serving_set.watermarks == {"c": Watermark("ep", "5-0")}
    assert read_watermarks({"3": "a:b:7-1"}) == {"3": Watermark("a:b", "7-1")}


def test_a_change_makes_a_new_value_and_leaves_the_old_one(serving_set):
    changed = serving_set.with_changes([row("bread", stock=0)], "6-0")
    bread = serving_set.items.idx("bread")
    assert (serving_set.items.sellable[bread], changed.items.sellable[bread]) == (True, False)
    assert (serving_set.catalogue, changed.catalogue) == ("5-0", "6-0")
    assert changed.release is serving_set.release


def test_a_change_older_than_what_was_trained_on_does_not_count(serving_set):
    old = serving_set.with_changes([row("bread", stock=0) | {"valid_from": worlds.day(-1)}], "6-0")
    assert old.items is serving_set.items
    assert old.catalogue == "6-0"


def test_what_came_after_training_is_among_the_newest_from_its_moment_on(serving_set):
    changed = serving_set.with_changes([row("tea-9", title="tea")], "6-0")
    query = changed.models.query(-1, worlds.day(51))
    first = changed.pipeline.sources["newest"].candidates(query, 1).item_idx
    assert changed.items.text(int(first[0])) == "tea-9"
    assert not changed.items.showable(first, worlds.day(50) - 1)[0]
    changed.warm(worlds.day(51))
    again = changed.with_changes([row("tea-9", title="tea", stock=0)], "7-0")
    assert not again.items.showable(first, worlds.day(51))[0]
    assert list(again.items.idxs(["tea-9", "unknown"])) == list(first)
    assert len(NO_ITEMS) == 0


def test_a_swap_is_whole_and_a_stale_refresh_does_not_undo_it(serving_set, release):
    sets = ServingSets()
    with pytest.raises(NoRelease, match="pond train --shop toy"):
        sets.of("toy")
    sets.swap(serving_set)
    newer = serving_set.with_changes([], "9-0")
    assert sets.refresh(newer) is newer
    assert sets.of("toy") is newer
    other = ServingSet(
        newer.shop, type(release)(release.directory, release.manifest.model_copy(update={"release_id": "r2"}),
                                  release.models),
        newer.items, "1-0", {}, newer.pipeline,
    )  # fmt: skip
    sets.swap(other)
    assert sets.refresh(newer) is newer
    assert sets.of("toy") is other
    assert (sets.release_id("toy"), sets.release_id("x"), sets.shops) == ("r2", None, ("toy",))
    sets.drop_except(["another"])
    assert sets.shops == ()
