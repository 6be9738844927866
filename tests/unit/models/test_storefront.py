from dataclasses import replace

import numpy as np
import pytest

from features.columns import EventKind, ItemKind
from features.history import History
from models.config import validated_pipeline_config
from models.lifecycle.known import life_of
from models.lifecycle.life import About, Lives
from models.lifecycle.model import LifecycleModel
from models.lifecycle.profile import profiles_of
from models.rules import Rule, RuleBook
from models.slate import Request
from tests import serving, worlds

NOW = worlds.day(50)


def content(content_id, **told):
    return {"content_id": content_id, "title": content_id, "published_at": worlds.day(40)} | told


def bundle(bundle_id, *product_ids, **told):
    return {"bundle_id": bundle_id, "product_ids": list(product_ids)} | told


@pytest.fixture(scope="module")
def models():
    return serving.toy_models()


@pytest.fixture(scope="module")
def front(models):
    rows = {
        ItemKind.content: [content("a1"), content("a2", product_ids=["tea1"]), content("live", form="live",
                           starts_at=worlds.day(51), expires_at=worlds.day(52)), content("later",
                           published_at=worlds.day(60)), content("over", expires_at=worlds.day(45))],
        ItemKind.bundle: [bundle("b1", "tea1", "bread", price=5.0), bundle("b2", "coffee1", "coffee2"),
                          bundle("b3", "tea1", "nobody knows")],
    }  # fmt: skip
    return models.storefront.with_changes(rows, models.products.ids)


def shown(front, request):
    return [front.text(pick) for pick in front.recommend(request).picks]


def asked(models, scene, k=5, who=-1, **more):
    return Request(models.query(who, NOW), scene, k, **more)


def test_contents_are_shown_from_publication_until_they_expire_and_a_live_stream_before_it_starts(front, models):
    assert sorted(shown(front, asked(models, "content"))) == ["a1", "a2", "live"]
    later = Request(models.query(-1, worlds.day(53)), "content", 5)
    assert sorted(shown(front, later)) == ["a1", "a2"]


def test_a_bundle_is_offered_while_every_part_is_there_and_costs_less_than_its_parts(front, models):
    picks = {front.text(pick): pick for pick in front.recommend(asked(models, "bundles")).picks}
    assert sorted(picks) == ["b1", "b2"]
    assert (picks["b1"].bundle.price, picks["b1"].bundle.saving) == (5.0, None)  # what the parts cost is not known
    dear = [{"product_id": name, "price": 4.0, "created_at": worlds.day(0)} for name in ("tea1", "bread")]
    priced = front.with_changes({ItemKind.product: dear}, models.products.ids)
    assert {priced.text(p): p for p in priced.recommend(asked(models, "bundles")).picks}["b1"].bundle.saving == 3.0
    sold_out = front.with_changes({ItemKind.product: [{"product_id": "bread", "stock": 0}]}, models.products.ids)
    assert shown(sold_out, asked(models, "bundles")) == ["b2"]


def test_a_mixed_slate_keeps_the_ratio_and_no_product_beside_its_bundle(front, models):
    mix = {ItemKind.product: 0.5, ItemKind.content: 0.25, ItemKind.bundle: 0.25}
    slate = front.recommend(asked(models, "popular", 8, mix=mix))
    kinds = [pick.kind for pick in slate.picks]
    assert (kinds.count(ItemKind.product), kinds.count(ItemKind.content), kinds.count(ItemKind.bundle)) == (4, 2, 2)
    for place, pick in enumerate(slate.picks):
        if pick.bundle is not None:
            near = slate.picks[max(0, place - 3) : place + 1]
            assert not {one.item_idx for one in near if one.kind is ItemKind.product} & set(pick.bundle.parts)


def test_what_is_pinned_of_every_kind_is_in_a_mixed_slate(front, models):
    told = [
        Rule(rule_id=kind, action="pin", item_kind=kind, item_ids=(name,))
        for kind, name in (("product", "coffee2"), ("content", "a2"), ("bundle", "b2"))
    ]
    mix = {ItemKind.product: 0.5, ItemKind.content: 0.25, ItemKind.bundle: 0.25}
    ruled = front.under(RuleBook.of(told))
    shown = [(pick.kind.name, ruled.text(pick)) for pick in ruled.recommend(asked(models, "popular", 8, mix=mix)).picks]
    assert shown[0] == ("product", "coffee2")
    assert len(set(shown)) == len(shown)
    for kind, name in (("content", "a2"), ("bundle", "b2")):
        assert next(one for one in shown if one[0] == kind) == (kind, name)


def test_a_kind_that_has_nothing_is_named_and_leaves_its_places(models):
    slate = models.storefront.recommend(asked(models, "popular", 4, mix={ItemKind.product: 1, ItemKind.content: 1}))
    assert [pick.kind for pick in slate.picks] == [ItemKind.product] * 4
    assert "mix: no content to show" in slate.degraded


def test_a_shops_scene_may_mix_by_itself(models):
    config = validated_pipeline_config({"scenes": {"home": {"mix": {"product": 1, "bundle": 1}}}}, "test")
    front = replace(models, config=config).storefront
    front = front.with_changes({ItemKind.bundle: [bundle("b", "tea1", "tea2")]}, models.products.ids)
    assert ItemKind.bundle in [pick.kind for pick in front.recommend(asked(models, "home", 4)).picks]


def test_rules_exclude_pin_and_move_in_every_kind(front, models):
    told = [
        Rule(rule_id="x", action="exclude", item_ids=("bread",)),
        Rule(rule_id="p", action="pin", item_ids=("coffee2",), scenes=("popular",)),
        Rule(rule_id="c", action="only", item_kind="content", item_ids=("a2",)),
        Rule(rule_id="b", action="pin", item_kind="bundle", item_ids=("b2",)),
    ]
    ruled = front.under(RuleBook.of(told, 3))
    slate = ruled.recommend(asked(models, "popular", 4))
    assert ruled.text(slate.picks[0]) == "coffee2"
    assert slate.picks[0].stage == "pin"
    assert "bread" not in [ruled.text(pick) for pick in slate.picks]
    assert slate.rules == ("p", "x")
    assert shown(ruled, asked(models, "content")) == ["a2"]
    assert shown(ruled, asked(models, "bundles"))[0] == "b2"
    assert shown(front, asked(models, "popular", 4)) != shown(ruled, asked(models, "popular", 4))


def test_a_boosted_category_moves_up_and_a_rule_for_gold_says_nothing_to_others(front, models):
    plain = shown(front, asked(models, "popular", 8))
    last = plain[-1]
    up = front.under(RuleBook.of([Rule(rule_id="u", action="boost", item_ids=(last,), factor=50)]))
    assert shown(up, asked(models, "popular", 8))[0] == last
    gold = front.under(RuleBook.of([Rule(rule_id="g", action="exclude", item_ids=(last,), segment={"tier": "gold"})]))
    assert shown(gold, asked(models, "popular", 8)) == plain


def test_a_rule_for_a_stage_holds_for_whom_the_profile_says_is_in_it(front, models):
    known, part = models.customers.ids, models.part(LifecycleModel)
    who, at = known.idx("tea-3"), worlds.day(22)  # bought on days 13 to 20
    life = life_of(part, models.histories, models.query(who, at), About())
    stage = next(profiles_of(part, Lives.of([life]), at)).stage
    told = [Rule(rule_id="s", action="exclude", item_ids=("bread",), segment={"lifecycle_stage": stage})]
    ruled = front.under(RuleBook.of(told))

    def shown_to(idx, moment):
        return shown(ruled, Request(models.query(idx, moment), "popular", 8))

    assert stage == "loyal"
    assert "bread" not in shown_to(who, at)
    assert "bread" in shown_to(who, at + 400 * worlds.DAY_US)  # lost by then
    assert "bread" in shown_to(-1, at)


def test_what_was_shown_often_rests_unless_it_is_pinned(front, models):
    first = front.recommend(asked(models, "popular", 3)).picks[0].item_idx
    n = front.fatigue.shown
    at = np.arange(n, dtype=np.int64) + NOW - 1000
    told = History(np.full(n, first, np.int32), at, np.full(n, EventKind.impression, np.uint8),
                   np.ones(n, np.float32), np.full(n, np.nan, np.float32), np.full(n, -1, np.int32))  # fmt: skip
    query = replace(models.query(-1, NOW), shown={ItemKind.product: told})
    assert first not in [pick.item_idx for pick in front.recommend(Request(query, "popular", 8)).picks]
    pinned = Request(query, "popular", 8, pins=np.array([first], np.int32))
    assert front.recommend(pinned).picks[0].item_idx == first
