"""The pipeline over the toy world of two tastes, with the sources of the catalogue that need no luck."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from features.history import DAY_US, EMPTY
from models.catalogue import SOURCES
from models.config import DEFAULT_SCENES, SceneConfig, validated_pipeline_config
from models.errors import CannotServe
from models.pipeline import Pipeline
from models.query import NOTHING, Candidates
from models.slate import Filters, Request
from models.trained import Models
from tests import serving, worlds

PLAIN = ("popular", "repeat", "itemknn")


@pytest.fixture(scope="module")
def toy():
    return worlds.two_tastes()


@pytest.fixture(scope="module")
def models(toy):
    config = validated_pipeline_config({}, "test")
    fitted = {n: SOURCES[n].fit(toy, config.source(n), np.random.default_rng(0)) for n in PLAIN if n in SOURCES}
    return Models.of(toy, config, fitted)


def ask(models, toy, customer, scene="home", k=5, recipe=None, **more):
    who = toy.customers.ids.idx(customer)
    request = Request(models.query(who, toy.as_of), scene, k, recipe=recipe, **more)
    slate = models.pipeline.recommend(request, models.items)
    return [models.items.text(p.item_idx) for p in slate.picks], slate


def only(source, **settings):
    return SceneConfig(sources={source: 1.0}, **settings)


def test_discover_shows_nothing_that_was_bought(models, toy):
    items, _ = ask(models, toy, "tea-3", "discover", k=12)
    assert items[0] == "tea3"
    assert not {"tea0", "tea1", "tea2", "tea4", "bread"} & set(items)


def test_rebuy_shows_only_what_was_bought_and_says_that_there_is_no_more(models, toy):
    items, slate = ask(models, toy, "tea-3", "rebuy", k=7)
    assert sorted(items) == ["bread", "tea0", "tea1", "tea2", "tea4"]
    why = "this scene shows only what was bought before, and nothing more may be shown"
    assert slate.degraded[-1] == f"only 5 of 7 places filled: {why}"
    assert slate.causes[-1] == f"shorter than asked: {why}"


def test_rebuy_has_nothing_for_a_stranger_and_says_so(models, toy):
    items, slate = ask(models, toy, "nobody", "rebuy", k=3)
    assert items == []
    assert slate.degraded[-1] == (
        "only 0 of 3 places filled: this scene shows only what was bought before, and nothing was"
    )


def test_a_fallback_under_only_brings_what_was_bought_and_nothing_else(models, toy):
    recipe = only("popular", repeat_policy="only", candidates=1, fallback=("popular",))
    items, slate = ask(models, toy, "tea-3", k=9, recipe=recipe)
    assert sorted(items) == ["bread", "tea0", "tea1", "tea2", "tea4"]
    assert {p.stage for p in slate.picks[1:]} == {"fallback:popular"}
    assert slate.causes[-2] == "filled from fallbacks"
    unscored = only("itemknn", repeat_policy="only", fallback=("newest",))
    assert set(ask(models, toy, "tea-3", k=9, recipe=unscored)[0]) == set(items)


def test_stranger_gets_popular_items_and_is_told_so(models, toy):
    items, slate = ask(models, toy, "nobody", "discover", k=1, recipe=only("repeat"))
    assert items == ["bread"]
    assert slate.picks[0].stage == "fallback:popular"
    assert slate.picks[0].reason.code == "fallback_popular"


def test_a_release_that_has_grown_old_by_the_question_s_moment_does_not_say_right_now(models, toy):
    for later, code in ((7, "fallback_popular"), (8, "fallback_popular_before")):
        query = models.query(-1, toy.as_of + later * DAY_US)
        slate = models.pipeline.recommend(Request(query, "cart", 1), models.items)
        assert slate.picks[0].reason.code == code


def test_excluded_items_baskets_and_seeds_are_never_shown(models, toy):
    idx = models.items.idxs
    items, _ = ask(models, toy, "tea-3", k=12, exclude=idx(["tea0"]), basket=idx(["tea1"]))
    assert not {"tea0", "tea1"} & set(items)


def test_hidden_and_sold_out_items_vanish_from_every_stage(models, toy):
    changed = models.items.with_changes(
        [{"product_id": "bread", "stock": 0}, {"product_id": "tea0", "status": "hidden"}]
    )
    request = Request(models.query(toy.customers.ids.idx("tea-3"), toy.as_of), "rebuy", 12)
    shown = {changed.text(p.item_idx) for p in models.pipeline.recommend(request, changed).picks}
    assert not {"bread", "tea0"} & shown
    back = changed.with_changes([{"product_id": "bread", "stock": 3}])
    shown = {back.text(p.item_idx) for p in models.pipeline.recommend(request, back).picks}
    assert "bread" in shown


def test_items_that_start_later_are_not_shown_yet(models, toy):
    later = models.items.with_changes([{"product_id": "bread", "created_at": toy.as_of + 1}])
    request = Request(models.query(-1, toy.as_of), "popular", 3)
    assert "bread" not in {later.text(p.item_idx) for p in models.pipeline.recommend(request, later).picks}
    request = Request(models.query(-1, toy.as_of + 1), "popular", 3)
    assert "bread" in {later.text(p.item_idx) for p in models.pipeline.recommend(request, later).picks}


def test_pins_come_first_and_once_when_they_may_be_shown(models, toy):
    pins = models.items.idxs(["coffee1", "bread"])
    items, slate = ask(models, toy, "tea-3", k=5, pins=pins, exclude=models.items.idxs(["coffee1"]))
    assert items[0] == "bread"
    assert items.count("bread") == 1
    assert slate.picks[0].stage == "pin"


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (Filters(category="drinks"), {"tea", "cof"}),
        (Filters(category="drinks/tea"), {"tea"}),
        (Filters(category="dri"), set()),
        (Filters(brands=("baker",)), {"bre"}),
    ],
)
def test_filters_hold_for_every_place(models, toy, filters, wanted):
    items, _ = ask(models, toy, "tea-3", "home", k=10, filters=filters)
    assert {i[:3] for i in items} == wanted


def test_filters_that_leave_too_little_are_named(models, toy):
    _, none = ask(models, toy, "tea-3", "home", k=10, filters=Filters(category="dri"))
    assert none.degraded[-1] == "only 0 of 10 places filled: the filters leave no more"
    _, one = ask(models, toy, "tea-3", "home", k=10, filters=Filters(brands=("baker",)))
    assert one.degraded[-1] == "only 1 of 10 places filled: the filters leave no more"
    _, whole = ask(models, toy, "tea-3", "home", k=1, filters=Filters(brands=("baker",)))
    assert not any("places" in word for word in whole.degraded)


def test_pins_that_may_not_be_shown_are_named(models, toy):
    idx = models.items.idxs
    items, slate = ask(models, toy, "tea-3", "home", k=3, pins=idx(["tea0", "bread", "tea1"]), exclude=idx(["bread"]))
    assert items[:2] == ["tea0", "tea1"]
    assert "pinned but not to be shown now: bread" in slate.degraded


def test_price_filters_never_show_an_item_without_a_price(models, toy):
    priced = models.items.with_changes([{"product_id": "bread", "price": 3.0}, {"product_id": "tea0", "price": 9.0}])
    request = Request(models.query(0, toy.as_of), "popular", 9, filters=Filters(price_min=2, price_max=5))
    assert [priced.text(p.item_idx) for p in models.pipeline.recommend(request, priced).picks] == ["bread"]


def test_a_source_that_is_missing_or_cannot_serve_is_named_and_the_rest_answers(models, toy):
    @dataclass(frozen=True)
    class Broken:
        def candidates(self, query, limit):
            raise CannotServe("als", "no factors for this customer")

        def score(self, query, item_idx):
            return np.full(len(item_idx), np.nan, np.float32)

    pipeline = Pipeline(dict(models.sources) | {"als": Broken()}, DEFAULT_SCENES)
    slate = pipeline.recommend(Request(models.query(0, toy.as_of), "home", 3), models.items)
    assert len(slate.picks) == 3
    assert any("no factors" in word for word in slate.degraded)
    assert any("hybrid: not in this release" in word for word in slate.degraded)


def test_unknown_scene_is_left_to_the_caller(models, toy):
    with pytest.raises(KeyError):
        ask(models, toy, "tea-3", "no-such-scene")


def test_cart_starts_from_the_basket_and_not_from_the_history(models, toy):
    recipe = only("itemknn", start_from="basket", fallback=())
    items, _ = ask(models, toy, "tea-3", recipe=recipe, basket=models.items.idxs(["coffee0"]))
    assert {i[:6] for i in items} <= {"coffee", "bread"}
    assert ask(models, toy, "tea-3", recipe=recipe)[0] == []


def test_similar_without_seeds_never_answers_from_the_history(models, toy):
    items, slate = ask(models, toy, "tea-3", recipe=only("itemknn", start_from="seeds"))
    assert items
    assert {p.stage for p in slate.picks} == {"fallback:popular"}


def test_diversity_mixes_categories(models, toy):
    plain, _ = ask(models, toy, "tea-3", recipe=only("repeat"), k=5)
    mixed, _ = ask(models, toy, "tea-3", recipe=only("repeat", category_decay=0.1), k=5)
    assert set(plain) == set(mixed)
    assert mixed.index("bread") <= 1


def test_explored_places_carry_the_probability_they_were_drawn_with(models, toy):
    counts: dict[str, int] = {}
    shares: dict[str, float] = {}
    for seed in range(3000):
        _, slate = ask(models, toy, "nobody", "popular", k=3, explore_seed=seed)
        assert [p.propensity for p in slate.picks[:1]] == [1.0]
        pick = slate.picks[1]
        assert pick.stage == "explore"
        name = models.items.text(pick.item_idx)
        counts[name] = counts.get(name, 0) + 1
        shares[name] = pick.propensity
    for name, share in shares.items():
        # Six standard deviations: false alarm below 1e-7 over all items; the seeds are fixed.
        assert abs(counts[name] / 3000 - share) < 6 * (share * (1 - share) / 3000) ** 0.5


def test_answers_are_the_same_every_time(models, toy):
    assert ask(models, toy, "tea-3", k=9)[1] == ask(models, toy, "tea-3", k=9)[1]


def test_the_query_sees_nothing_at_or_after_its_moment(models, toy):
    who = toy.customers.ids.idx("tea-3")
    first = int(models.histories.of(who).at[0])
    assert len(models.query(who, first).history) == 0
    tail = worlds.history(toy, [("coffee1", 41), ("coffee2", 42)])
    assert len(models.query(who, worlds.day(42), tail).history) == len(models.histories.of(who)) + 1


def test_an_empty_release_answers_with_an_empty_list():
    toy = worlds.world(as_of=1)
    config = validated_pipeline_config({}, "test")
    fitted = {"popular": SOURCES["popular"].fit(toy, config.source("popular"), np.random.default_rng(0))}
    empty = Models.of(toy, config, fitted)
    slate = empty.pipeline.recommend(Request(empty.query(-1, worlds.day(2)), "home", 5), empty.items)
    assert slate.picks == ()


def test_a_recipe_given_with_the_request_replaces_the_scenes(models, toy):
    _, slate = ask(models, toy, "tea-3", "popular", recipe=only("repeat"))
    assert {p.stage for p in slate.picks} == {"repeat"}


def test_candidates_of_unknown_items_never_break_the_table(models, toy):
    grown = models.items.with_changes([{"product_id": "brand-new", "title": "new tea"}])
    assert grown.text(grown.idx("brand-new")) == "brand-new"
    assert grown.idx("brand-new") == models.items.n_trained

    @dataclass(frozen=True)
    class Fixed:
        def candidates(self, query, limit):
            return Candidates(np.array([grown.idx("brand-new")], np.int32), np.ones(1, np.float32))

        def score(self, query, item_idx):
            return np.ones(len(item_idx), np.float32)

    pipeline = Pipeline({"newest": Fixed()}, DEFAULT_SCENES)
    slate = pipeline.recommend(Request(replace(models.query(-1, toy.as_of), history=EMPTY), "new", 1), grown)
    assert grown.text(slate.picks[0].item_idx) == "brand-new"
    assert len(NOTHING) == 0


def test_new_shows_arrivals_of_the_customers_own_kinds_first_and_a_stranger_the_newest_first():
    rows = [("ann", "oolong", 1), ("bob", "rye", 1)]
    kinds = {"oolong": "drinks/tea", "rye": "food/bread"}
    came = [("tea-old", "drinks/tea", 90), ("bread-new", "food/bread", 99), ("tea-new", "drinks/tea", 98)]
    products = [{"product_id": p, "category": c, "created_at": worlds.day(0)} for p, c in kinds.items()]
    products += [{"product_id": p, "category": c, "created_at": worlds.day(d)} for p, c, d in came]
    shop = worlds.world(rows, products=products, as_of=100)
    models = serving.fitted(shop, ("newest", "own_kinds", "popular"))
    assert ask(models, shop, "ann", "new", k=3)[0] == ["tea-new", "tea-old", "bread-new"]
    assert ask(models, shop, "bob", "new", k=1)[0] == ["bread-new"]
    assert ask(models, shop, "nobody", "new", k=3)[0] == ["bread-new", "tea-new", "tea-old"]


def test_a_shop_on_its_first_day_shows_what_it_has_and_says_that_it_fell_back():
    shop = worlds.world([], products=[{"product_id": p} for p in "cab"] + [{"product_id": "x", "status": "hidden"}])
    models = serving.fitted(shop)
    items, slate = ask(models, shop, "nobody", "home", k=4)
    assert items == ["a", "b", "c"]
    assert {(p.stage, p.reason.code) for p in slate.picks} == {("fallback:catalogue", "fallback_any")}
    assert slate.degraded[-2:] == (
        "only 0 of 4 found for this scene; filled from popular, catalogue",
        "only 3 of 4 places filled: nothing more may be shown",
    )
    assert ask(models, shop, "nobody", k=4, exclude=models.items.idxs(["a"]))[0] == ["b", "c"]
    assert ask(models, shop, "nobody", recipe=only("popular", fallback=()))[0] == []
