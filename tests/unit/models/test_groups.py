"""Groups: fair lists, nobody who stands out, the scene's own rules for what may be shown."""

import numpy as np
import pytest

from models.groups.answer import depth_of, member_list, recommend_to_group
from models.groups.tastes import Tastes, fair_order, member_weights
from models.items import ItemTable
from models.slate import Request
from tests import serving, worlds

TEA, COFFEE, BREAD, WINE = range(4)


def tastes(*lists):
    return Tastes.of([np.array(one, np.int32) for one in lists], depth=4)


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


def asked(models, who, scene="home", k=4, **more):
    front = models.storefront
    at = models.as_of
    members = [models.query(models.customers.ids.idx(one), at) for one in who]
    recipe, depth = front.pipeline.scenes[scene], depth_of(front.items)
    lists = [member_list(front.pipeline, recipe, one, depth) for one in members]
    slate, covered = recommend_to_group(front, Request(models.query(-1, at), scene, k, **more), lists, 0.5)
    return [front.text(pick) for pick in slate.picks], slate, covered


def test_average_follows_the_many_and_least_misery_serves_the_few_too():
    many, few = [[TEA, BREAD]] * 8, [[COFFEE, WINE]] * 3
    crowd = tastes(*many, *few)
    assert fair_order(crowd, 0.0, 2).tolist() == [TEA, BREAD]
    assert fair_order(crowd, 1.0, 2).tolist() == [TEA, COFFEE]
    assert crowd.covered(fair_order(crowd, 0.0, 2)) == pytest.approx(8 / 11)
    assert crowd.covered(fair_order(crowd, 1.0, 2)) == 1.0


def test_average_is_the_order_of_mean_points():
    crowd = tastes([TEA, COFFEE, BREAD], [COFFEE, TEA, WINE], [COFFEE, BREAD, TEA])
    mean = crowd.points.mean(axis=0)
    assert fair_order(crowd, 0.0, 4).tolist() == crowd.item_idx[np.argsort(-mean, kind="stable")].tolist()


def test_who_got_less_weighs_more_and_with_full_fairness_alone():
    got = np.array([1.0, 2.0, 4.0])
    assert member_weights(got, 0.0).tolist() == [1.0, 1.0, 1.0]
    assert member_weights(got, 0.5).tolist() == [1.0, 0.5, 0.25]
    assert member_weights(got, 1.0).tolist() == [1.0, 0.0, 0.0]


def test_what_one_or_two_members_want_is_not_shared():
    crowd = tastes([WINE, TEA], [TEA, COFFEE], [TEA, COFFEE], [TEA, COFFEE], [TEA])
    shared = crowd.item_idx[crowd.is_shared].tolist()
    assert shared == [TEA, COFFEE]


def test_what_only_one_member_wants_much_is_not_shared():
    lists = [np.array([9, 8, 7, WINE], np.int32)] * 3 + [np.array([WINE], np.int32)] + [np.array([9], np.int32)] * 6
    crowd = Tastes.of(lists, depth=100)
    assert WINE in crowd.item_idx[crowd.is_shared]
    crowd.points[:3, 0] = 0.01  # hardly wanted by three, first for one
    assert WINE not in crowd.item_idx[crowd.is_shared]


def test_group_of_both_tastes_gets_both(models):
    shown, slate, covered = asked(models, [f"tea-{n}" for n in range(5)] + [f"coffee-{n}" for n in range(4)], k=6)
    assert {"tea", "coffee"} <= {name.rstrip("0123456789") for name in shown}
    assert covered == 1.0
    assert {pick.reason.code for pick in slate.picks if pick.stage == "group"} == {"group_shared"}


def test_a_lone_drinker_of_coffee_puts_no_coffee_before_tea_drinkers(models):
    shown, slate, _ = asked(models, [*(f"tea-{n}" for n in range(6)), "coffee-0"], k=11)
    by_group = [models.items.text(pick.item_idx) for pick in slate.picks if pick.stage == "group"]
    stranger = models.query(-1, models.as_of)
    popular = {models.items.text(int(i)) for i in models.sources["popular"].candidates(stranger, 100).item_idx}
    assert by_group
    assert not {name for name in by_group if name.startswith("coffee")} - popular
    assert len(shown) == 11


def test_what_is_sold_out_or_left_out_is_not_posted(models):
    who = [f"tea-{n}" for n in range(6)]
    first = asked(models, who)[0][0]
    without = np.array([models.products.ids.idx(first)], np.int32)
    assert first not in asked(models, who, exclude=without)[0]


@pytest.mark.parametrize(("n_products", "depth"), [(12, 10), (60, 12), (2000, 100)])
def test_lists_of_a_small_shop_are_short_so_that_not_everything_suits_everybody(n_products, depth):
    shop = worlds.world(products=[{"product_id": f"p{n}"} for n in range(n_products)], as_of=1)
    assert depth_of(ItemTable.of(shop.products)) == depth


def test_no_lists_at_all_are_filled_with_what_is_popular(models):
    front = models.storefront
    slate, covered = recommend_to_group(front, Request(models.query(-1, models.as_of), "home", 3), [], 0.5)
    assert [pick.stage for pick in slate.picks] == ["fallback:popular"] * 3
    assert covered == 0.0


def test_lists_are_no_longer_than_they_are_asked_to_be(models):
    query = models.query(0, models.as_of)
    for scene in ("home", "discover", "rebuy"):
        found = member_list(models.pipeline, models.pipeline.scenes[scene], query, 4)
        assert len(found) <= 4
        assert len(set(found.tolist())) == len(found)
    bought = set(query.history.purchases.item_idx.tolist())
    assert not bought & set(member_list(models.pipeline, models.pipeline.scenes["discover"], query, 100).tolist())
    assert bought >= set(member_list(models.pipeline, models.pipeline.scenes["rebuy"], query, 100).tolist())
