import numpy as np
import pytest

from features.columns import ItemKind
from features.errors import ReleaseError
from features.shop import create_shop
from features.watermarks import Watermark, read_watermarks
from models.query import NO_ITEMS
from models.release import write_release
from models.release_store import DirectoryStore
from models.slate import Request
from service.problems import NoRelease
from service.serving_set import ServingSet, ServingSets
from tests import serving, worlds


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    models = serving.fitted(worlds.two_tastes(), ("popular", "newest", "own_kinds", "content_based"))
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
    changed = serving_set.with_changes({ItemKind.product: [row("bread", stock=0)]}, "6-0")
    bread = serving_set.items.idx("bread")
    assert (serving_set.items.sellable[bread], changed.items.sellable[bread]) == (True, False)
    assert (serving_set.catalogue, changed.catalogue) == ("5-0", "6-0")
    assert changed.release is serving_set.release


def test_a_change_older_than_what_was_trained_on_does_not_count(serving_set):
    old = serving_set.with_changes({ItemKind.product: [row("bread", stock=0) | {"valid_from": worlds.day(-1)}]}, "6-0")
    assert old.items is serving_set.items
    assert old.catalogue == "6-0"


def test_what_came_after_training_is_among_the_newest_from_its_moment_on(serving_set):
    changed = serving_set.with_changes({ItemKind.product: [row("tea-9", title="tea")]}, "6-0")
    query = changed.models.query(-1, worlds.day(51))
    first = changed.storefront.pipeline.sources["newest"].candidates(query, 1).item_idx
    assert changed.items.text(int(first[0])) == "tea-9"
    assert not changed.items.showable(first, worlds.day(50) - 1)[0]
    changed.warm(worlds.day(51))
    again = changed.with_changes({ItemKind.product: [row("tea-9", title="tea", stock=0)]}, "7-0")
    assert not again.items.showable(first, worlds.day(51))[0]
    assert list(again.items.idxs(["tea-9", "unknown"])) == list(first)
    assert len(NO_ITEMS) == 0


def test_what_came_after_training_reaches_those_who_buy_its_kind_and_those_who_look_at_its_like(serving_set):
    told = {"title": "green tea 绿茶 leaves", "category": "drinks/tea", "brand": "tea house"}
    rows = [row("tea-9", **told), row("rye", title="rye bread", category="food/bread")]
    changed = serving_set.with_changes({ItemKind.product: rows}, "6")
    tea, idx = changed.items.idx("tea-9"), changed.items.idx
    ann = changed.models.query(changed.models.customers.ids.idx("tea-3"), worlds.day(51))
    new = {p.item_idx: p for p in changed.storefront.recommend(Request(ann, "new", 2)).picks}
    assert (new[tea].stage, new[tea].reason.code) == ("own_kinds", "similar_to")
    like = changed.models.query(-1, worlds.day(51), seeds=changed.items.idxs(["tea1"]))
    assert tea in [p.item_idx for p in changed.storefront.recommend(Request(like, "similar", 8)).picks]
    of_it = changed.models.query(-1, worlds.day(51), seeds=changed.items.idxs(["tea-9"]))
    found = changed.storefront.recommend(Request(of_it, "similar", 3)).picks
    assert {changed.items.text(p.item_idx)[:3] for p in found} == {"tea"}
    assert idx("tea-9") not in [p.item_idx for p in found]


def test_a_change_of_what_was_trained_on_grows_nothing_and_a_second_telling_mends_the_first(serving_set):
    known = serving_set.with_changes({ItemKind.product: [row("bread", stock=0)]}, "6-0")
    assert known.storefront.pipeline is serving_set.storefront.pipeline
    first = serving_set.with_changes({ItemKind.product: [row("x", category="food/bread")]}, "6-0")
    again = first.with_changes({ItemKind.product: [row("x", category="drinks/tea", brand="tea house")]}, "7-0")
    x = again.items.idxs(["x"])
    ann = again.models.query(again.models.customers.ids.idx("coffee-3"), worlds.day(51))
    kinds = [each.storefront.pipeline.sources["own_kinds"] for each in (first, again)]
    assert np.isfinite(kinds[0].score(ann, x)).all()
    assert kinds[0].kind[x] != kinds[1].kind[x]
    assert len(kinds[1].kind) == len(again.items)


def test_a_swap_is_whole_and_a_stale_refresh_does_not_undo_it(serving_set, release):
    sets = ServingSets()
    with pytest.raises(NoRelease, match="pond train --shop toy"):
        sets.of("toy")
    sets.swap(serving_set)
    newer = serving_set.with_changes({ItemKind.product: []}, "9-0")
    assert sets.refresh(newer) is newer
    assert sets.of("toy") is newer
    other = ServingSet(
        newer.shop, type(release)(release.directory, release.manifest.model_copy(update={"release_id": "r2"}),
                                  release.models),
        newer.storefront, "1-0", {},
    )  # fmt: skip
    sets.swap(other)
    assert sets.refresh(newer) is newer
    assert sets.of("toy") is other
    assert (sets.release_id("toy"), sets.release_id("x"), sets.shops) == ("r2", None, ("toy",))
    sets.drop_except(["another"])
    assert sets.shops == ()
