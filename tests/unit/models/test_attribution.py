"""What raised a score adds up to the score, and is told in words that are true."""

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definitions import FEATURES
from features.history import DAY_US
from features.item_facts import fit_item_facts
from models.catalogue import SOURCES
from models.config import SceneConfig
from models.explain import explained_by_grounds
from models.items import ItemTable
from models.pipeline import Pipeline
from models.rank.attribution import REST, Grounds, cause_of, read_paths
from models.rank.ranker import RankerConfig, RankingRows, feature_names, fit_ranker
from models.slate import Request
from tests import worlds

TOY = worlds.two_tastes()
ITEMS = replace(ItemTable.of(TOY.products), brands=("leaf",) * len(TOY.products))
RANKED = ("repeat", "popular")


def stump(feature, root, left, right):
    leaves = [{"leaf_index": n, "leaf_value": value} for n, value in enumerate((left, right))]
    return {"split_feature": feature, "internal_value": root, "left_child": leaves[0], "right_child": leaves[1]}


@pytest.fixture(scope="module")
def toy_ranker():
    """A ranker that has learned that what was counted most is wanted."""
    small = RankerConfig(n_trees=30, min_rows_in_leaf=5, feature_share=1.0, l2=0.1)
    rng = np.random.default_rng(0)
    matrix = rng.random((80, 10, len(feature_names(RANKED)))).astype(np.float32)
    wanted = np.zeros((80, 10), np.bool_)
    wanted[np.arange(80), np.argmax(matrix[:, :, FEATURES.index("count")], axis=1)] = True
    rows = RankingRows(matrix.reshape(800, -1), wanted.ravel(), np.full(80, 10, np.int64))
    return fit_ranker(rows, RANKED, fit_item_facts(TOY), small, 0)


def test_each_step_of_a_path_belongs_to_the_feature_split_on():
    deep = stump(0, 1.0, 0.5, 2.0)
    deep["left_child"] = stump(1, 0.5, 0.1, 0.9)
    deep["right_child"] = {"leaf_index": 2, "leaf_value": 2.0}
    table = read_paths([deep, {"leaf_value": 0.3}], ["count", "due_days"])
    assert table.causes == ("habit", "rhythm")
    assert table.base == pytest.approx(1.3)
    found = table.of(np.array([[0, 0], [1, 0], [2, 0]], np.int32))
    assert found == pytest.approx(np.array([[-0.5, -0.4], [-0.5, 0.4], [1.0, 0.0]]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from(["binary", "lambdarank"]))
def test_causes_and_base_sum_to_the_raw_score(seed, n_leaves, objective):
    rng = np.random.default_rng(seed)
    matrix = rng.random((120, 4)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    wanted = (np.nan_to_num(matrix[:, 0]) + rng.random(120) > 1).astype(np.float32)
    names = ["count", "due_days", "share_als", "weekday"]
    data = lgb.Dataset(matrix, wanted, group=[20] * 6 if objective == "lambdarank" else None, feature_name=names)
    told = {"objective": objective, "num_leaves": n_leaves, "min_data_in_leaf": 5, "verbose": -1, "seed": seed}
    booster = lgb.train(told, data, 8)
    table = read_paths([t["tree_structure"] for t in booster.dump_model()["tree_info"]], names)
    leaves = booster.predict(matrix, pred_leaf=True).astype(np.int32).reshape(len(matrix), -1)
    assert table.of(leaves).sum(axis=1) + table.base == pytest.approx(booster.predict(matrix, raw_score=True))


def test_the_learned_feature_is_the_first_cause(toy_ranker):
    query, items = worlds.query(TOY, "tea-3"), TOY.products.ids.idxs(["tea1", "coffee1"])
    ranked = toy_ranker.order(query, items, {})
    bought, strange = ranked.grounds(np.array([0, 1]))
    assert bought.causes[0] == "habit"
    assert bought.known["count"] == 1
    assert "habit" not in strange.causes
    raw = sum(
        b.predict(ranked.matrix, raw_score=True) / s
        for b, s in zip(toy_ranker.forests.boosters, ranked.scale, strict=True)
    )
    base = sum(p.base / s for p, s in zip(toy_ranker.forests.paths, ranked.scale, strict=True))
    assert ranked.added(np.array([0, 1])).sum(axis=1) == pytest.approx((raw - base) / 2)


def told(causes, item="tea1", days=(30,), learned_days_ago=0.0, **known):
    nothing = dict.fromkeys(FEATURES, float("nan")) | {"count": 0.0}
    grounds = Grounds(tuple(causes), nothing | known)
    query = worlds.query(TOY, "", history=worlds.history(TOY, [("tea1", day) for day in days]))
    query = replace(query, learned_until=query.at - round(learned_days_ago * DAY_US))
    sources = {"itemknn": SOURCES["itemknn"].fit(TOY, SOURCES["itemknn"].config(), np.random.default_rng(0))}
    return explained_by_grounds(grounds, sources, query, TOY.products.ids.idx(item), ITEMS)


HABIT = {"days": (10, 20, 30)}
OFTEN = {"count": 4.0, "in_last_10": 3.0, "customer_n_baskets": 7.0, "days_since": 9.0, "gap_days": 9.6}


@pytest.mark.parametrize(
    ("cause", "known", "code", "words"),
    [
        ("rhythm", {"gap_days": 9.6, "days_since": 9.0}, "due", "每 10 天买一次"),
        ("rhythm", {"gap_days": 1.0, "days_since": 1.0}, "due", "about every 1 day: about due"),
        ("rhythm", {"gap_days": 10.0, "days_since": 16.0}, "overdue", "距上次已有 16 天"),
        (
            "rhythm",
            {"count": 1.0, "days_since": 7.0, "item_gap_days": np.log(7)},
            "due_for_most",
            "after about 7 days; you last did 7 days ago",
        ),
        ("habit", OFTEN, "often_and_due", "最近 7 次购物中有 3 次"),
        ("habit", OFTEN | {"days_since": 2.0}, "bought_often", "In 3 of your last 7 baskets"),
        ("habit", {"count": 1.0, "in_last_10": 1.0, "days_since": 1.0}, "bought_once", "1 day ago"),
        ("lately", {"count": 2.0, "days_since": 0.0}, "bought_today", "您今天买过"),
        ("category", HABIT | {"category_share": 0.3}, "category_habit", "您常买「tea」"),
        ("trend", {"popular_7d": 15.0, "popular_28d": 10.0}, "trending", "高 50%"),
        (
            "rebought",
            {"rebuy_rate": 0.37, "buyers": 100.0, "rebuyers": 31.0},
            "rebought",
            "31 % of its buyers have bought it again",
        ),
        ("price", {"price_to_usual": -0.1}, "price_level", "价位"),
        ("brand", HABIT | {"brand_share": 0.3}, "brand_habit", "You often buy leaf"),
        ("promotion", {"price_lately": float(np.log(0.88)), "popular_7d": 1.0}, "price_down", "低 12%"),
        ("promotion", {"price_lately": 0.01, "member_discount": 0.2}, "member_price", "会员价省 20%"),
        ("people", {"attribute_lift": 0.5}, "like_members", "与您同类"),
        ("popular", {"popular_28d": 3.0}, "popular", "近期热销"),
        ("userknn", {}, None, ""),
        ("rest", {}, None, ""),
    ],
)
def test_the_words_of_a_cause_carry_its_facts(cause, known, code, words):
    why = told([cause], **known)
    assert (why and why.code) == code
    assert words in (f"{why.zh} {why.en}" if why else "")


@pytest.mark.parametrize(
    ("cause", "known"),
    [
        ("rhythm", {"gap_days": 10.0, "days_since": 2.0}),
        ("habit", {"count": 0.0}),
        ("category", {"category_decayed": 0.9, "category_share": 0.9}),
        ("category", HABIT | {"category_decayed": 3.0, "category_share": 0.04}),
        ("category", {"days": (20, 30), "category_decayed": 3.0, "category_share": 0.9}),
        ("promotion", {"price_lately": float(np.log(0.88)), "popular_7d": 0.0}),
        ("trend", {"popular_7d": 11.0, "popular_28d": 10.0}),
        ("trend", {"popular_7d": 2.0, "popular_28d": 0.0}),
        ("rebought", {"rebuy_rate": 0.37}),
        ("rebought", {"rebuy_rate": 0.37, "buyers": 9.0, "rebuyers": 9.0}),
        ("rebought", {"rebuy_rate": 0.37, "buyers": 100.0, "rebuyers": 29.0}),
        ("trend", {"popular_7d": 15.0, "popular_28d": 10.0, "learned_days_ago": 4.0}),
        ("price", {"price_to_usual": 0.5}),
        ("brand", HABIT | {"brand_share": 0.02}),
        ("brand", {"days": (20, 30), "brand_share": 0.9}),
        ("promotion", {"price_lately": -0.01}),
        ("people", {"attribute_lift": 0.1}),
        ("people", {}),
        ("popular", {"popular_28d": 0.0}),
    ],
)
def test_what_would_not_be_true_gives_way_to_the_next_cause(cause, known):
    assert told([cause], **known) is None
    assert told([cause, "itemknn"], "tea2", **known).code == "because_of"


def test_what_was_popular_when_the_models_learned_is_not_said_to_be_so_right_now():
    assert [told(["popular"], popular_28d=3.0, learned_days_ago=days).en for days in (7, 7.01)] == [
        "Popular right now", "Popular in this shop"
    ]  # fmt: skip


def test_what_a_ranker_s_items_are_told_with_is_counted(toy_ranker):
    ranked = toy_ranker.order(worlds.query(TOY), TOY.products.ids.idxs(["bread", "tea1"]), {})
    (bread,) = ranked.grounds(np.array([0]))
    assert (bread.known["buyers"], bread.known["rebuyers"]) == (12, 0)
    came = toy_ranker.order(worlds.query(TOY), np.array([0, len(TOY.products)], np.int32), {})
    assert "buyers" not in came.grounds(np.array([1]))[0].known


def test_a_source_that_raised_a_score_names_the_item_that_led_there():
    assert "tea1" in told(["itemknn"], "tea2").en


def test_every_feature_of_an_item_has_a_cause_of_its_own():
    assert {n for n in FEATURES if cause_of(n) == REST} == {
        "inverse_size", *(n for n in FEATURES if n.startswith("customer_"))
    }  # fmt: skip
    assert [cause_of(f"share_{name}") for name in ("als", "repeat", "popular")] == ["als", "habit", "popular"]


def test_the_pipeline_tells_the_ranker_s_grounds(toy_ranker):
    sources = {n: SOURCES[n].fit(TOY, SOURCES[n].config(), np.random.default_rng(0)) for n in RANKED}
    recipe = SceneConfig(sources=dict.fromkeys(RANKED, 1.0), ranker="toy")
    ranked, blended = (
        Pipeline(sources, {"toy": recipe}, rankers).recommend(Request(worlds.query(TOY, "tea-3"), "toy", 3), ITEMS)
        for rankers in ({"toy": toy_ranker}, {})
    )
    assert ranked.picks[0].stage == "repeat"
    assert ranked.picks[0].reason.code == "bought_once"
    assert {p.reason.code for p in blended.picks} <= {"bought_once", "popular"}
    explored = Pipeline(sources, {"toy": recipe}, {"toy": toy_ranker}).recommend(
        Request(worlds.query(TOY, "tea-3"), "toy", 3, explore_seed=1), ITEMS
    )
    assert [p.reason.code for p in explored.picks] == ["bought_once", "explore", "explore"]
