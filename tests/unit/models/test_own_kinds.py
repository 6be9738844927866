"""`own_kinds`: what customers of a kind get, sold before or not, in shops of a few shelves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset
from models.arrivals import Arrivals
from models.catalogue import SOURCES
from models.explain import explained
from models.items import ItemTable
from models.query import Candidates
from models.recommenders.own_kinds import OwnKindsConfig, OwnKindsModel, fit_own_kinds, tree_of_kinds
from tests.worlds import day, history, query, world

SHELVES = {
    "oolong": ("drinks/tea", "Hill"), "sencha": ("drinks/tea", "Sea"), "espresso": ("drinks/coffee", "Hill"),
    "rye": ("food", None), "mystery": (None, None), "badge": (None, "Hill"),
}  # fmt: skip
ARRIVED = {"oolong2": ("drinks/tea", "Hill"), "sencha2": ("drinks/tea", "Sea"), "espresso2": ("drinks/coffee", "Hill")}
SOLD = [("ann", "oolong", 90), ("bob", "espresso", 90), ("cat", "rye", 90), ("dan", "sencha", 90), ("eve", "badge", 90)]


def shop(rows=SOLD, **more: tuple[str | None, str | None]) -> Dataset:
    known = [
        {"product_id": p, "title": p, "category": c, "brand": b, "created_at": day(0)} for p, (c, b) in SHELVES.items()
    ]
    fresh = [{"product_id": p, "category": c, "brand": b, "created_at": day(99)} for p, (c, b) in ARRIVED.items()]
    other = [{"product_id": p, "category": c, "brand": b, "created_at": day(0)} for p, (c, b) in more.items()]
    return world([("zoe", "mystery", 1), *rows], products=known + fresh + other, as_of=100)


def fitted(dataset: Dataset, **settings: float) -> OwnKindsModel:
    return fit_own_kinds(dataset, OwnKindsConfig(**settings), np.random.default_rng(0))


def names(dataset: Dataset, found: Candidates) -> list[str]:
    return [dataset.products.ids.text(int(i)) for i in found.item_idx]


def test_a_product_never_sold_comes_to_those_who_buy_its_kind_then_its_category_then_its_department():
    toy = shop()
    found = names(toy, fitted(toy).candidates(query(toy, "ann"), 9))
    assert set(found[:2]) == {"oolong", "oolong2"}
    assert set(found[2:4]) == {"sencha", "sencha2"}
    assert set(found[4:6]) == {"espresso", "espresso2"}
    assert len(found) == 6


def test_what_came_today_is_put_before_what_has_long_stood_there_unsold():
    toy = shop(shelf_warmer=("drinks/tea", "Hill"))
    found = names(toy, fitted(toy).candidates(query(toy, "ann"), 3))
    assert found.index("oolong2") < found.index("shelf_warmer")


def test_products_without_category_and_brand_are_not_proposed_and_a_brand_alone_is_a_kind():
    toy = shop(pin=(None, "Hill"))
    model = fitted(toy)
    assert names(toy, model.candidates(query(toy, "zoe"), 9)) == []
    assert names(toy, model.candidates(query(toy, "eve"), 9)) == ["badge", "pin"]
    everything = np.arange(len(toy.products), dtype=np.int32)
    assert np.isnan(model.score(query(toy, "ann"), everything[toy.products.ids.idxs(["mystery"])])).all()


def test_a_kind_that_few_buy_says_more_of_its_buyer_than_one_that_all_buy():
    rows = [(who, "rye", 90) for who in ("ann", "bob", "cat", "dan", "eve")] + [("ann", "oolong", 90)]
    toy = shop(rows)
    assert names(toy, fitted(toy).candidates(query(toy, "ann"), 9))[:2] == ["oolong", "oolong2"]


def test_seeds_replace_the_history():
    toy = shop()
    found = names(toy, fitted(toy).candidates(query(toy, "ann", seeds=["espresso"]), 2))
    assert set(found) == {"espresso", "espresso2"}


def test_taste_is_the_posterior_mean_written_out_by_hand():
    toy = shop()
    model = fitted(toy, strength=0.5, sales_exponent=1e-9)
    asked = query(toy, "", history=history(toy, [("oolong", 100)]))
    # Shares: drinks 3 of 5 sales, tea 2, Hill's tea 1, Sea's tea 1; each level's prior is the level above.
    drinks = (1 + 0.5) / (3 / 5 + 0.5)
    tea = (1 + 0.5 * drinks) / (2 / 5 + 0.5)
    hill, sea = (1 + 0.5 * tea) / (1 / 5 + 0.5), 0.5 * tea / (1 / 5 + 0.5)
    found = model.score(asked, toy.products.ids.idxs(["oolong", "sencha"]))
    assert found == pytest.approx([hill, sea], rel=1e-5)


def test_a_kind_is_numbered_after_the_level_above_it():
    kind, names, parent, level_start = tree_of_kinds(shop().products)
    assert len(names) == len(parent)
    assert (parent < np.arange(len(parent))).all()
    assert (parent[: level_start[1]] == -1).all()
    assert level_start[-1] == len(parent)
    assert kind.max() < len(parent)


def test_the_reason_names_what_was_bought_of_the_same_kind_and_nothing_from_another_category():
    toy = shop()
    model, items = fitted(toy), ItemTable.of(toy.products)
    titled = explained(model, "own_kinds", query(toy, "ann"), toy.products.ids.idx("oolong2"), items)
    assert model.because(query(toy, "ann"), toy.products.ids.idx("oolong2")) == toy.products.ids.idx("oolong")
    assert model.because(query(toy, "ann"), toy.products.ids.idx("sencha2")) == toy.products.ids.idx("oolong")
    assert model.because(query(toy, "ann"), toy.products.ids.idx("espresso2")) == -1
    assert (titled.code, "oolong" in titled.en) == ("similar_to", True)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(sorted(SHELVES | ARRIVED)), st.integers(1, 98))))
def test_the_head_is_that_of_all_products_scored(rows):
    toy = shop(rows)
    model = SOURCES["own_kinds"].fit(toy, OwnKindsConfig(), np.random.default_rng(0))
    everything = np.arange(len(toy.products), dtype=np.int32)
    for who in "ab":
        score = model.score(query(toy, who), everything)
        order = np.lexsort((everything, -np.nan_to_num(score, nan=-1.0)))[: int(np.isfinite(score).sum())]
        for limit in (1, 3, 20):
            assert model.candidates(query(toy, who), limit).item_idx.tolist() == order[:limit].tolist()


def grown(toy: Dataset, **came: tuple[str | None, str | None]) -> tuple[OwnKindsModel, ItemTable]:
    rows = [{"product_id": p, "category": c, "brand": b} for p, (c, b) in came.items()]
    items = ItemTable.of(toy.products).with_changes(rows)
    return fitted(toy).grown(Arrivals.of(rows, items)), items


def test_a_product_that_came_after_training_stands_where_its_like_of_today_stands():
    toy = shop()
    model, items = grown(toy, oolong3=("drinks/tea", "Hill"), rye3=("food", None))
    found = [items.text(int(i)) for i in model.candidates(query(toy, "ann"), 3).item_idx]
    assert found == ["oolong", "oolong3", "oolong2"]
    score = model.score(query(toy, "ann"), items.idxs(["oolong2", "oolong3"]))
    assert score[1] == pytest.approx(score[0], rel=0.01)
    assert model.because(query(toy, "ann"), items.idx("oolong3")) == items.idx("oolong")


def test_a_new_brand_is_taken_for_its_category_and_a_new_category_for_the_one_above_it():
    toy = shop()
    model, items = grown(toy, lapsang=("drinks/tea", "New"), cocoa=("drinks/cocoa", "New"), pen=("desk", "New"))
    kind = model.kind[items.idxs(["lapsang", "cocoa", "pen"])].tolist()
    sea, hill = (int(model.kind[items.idx(p)]) for p in ("sencha", "oolong"))
    tea = int(model.parent[sea])
    assert kind == [tea, int(model.parent[tea]), -1]
    assert tea == model.parent[hill]
    assert np.isnan(model.score(query(toy, "ann"), items.idxs(["pen"]))).all()


def test_slashes_and_brackets_in_a_brand_are_no_levels():
    toy = shop(both=("drinks", 'tea/"brand=Hill"'), deep=("drinks/tea", "Hill"))
    kind = tree_of_kinds(toy.products)[0]
    assert kind[toy.products.ids.idx("both")] != kind[toy.products.ids.idx("deep")]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(sorted(SHELVES)), st.integers(1, 98))),
       st.lists(st.sampled_from(sorted(SHELVES)), min_size=1, max_size=6))  # fmt: skip
def test_the_head_is_that_of_all_products_scored_after_growth_too(rows, like):
    toy = shop(rows)
    model, items = grown(toy, **{f"new{n}": SHELVES[name] for n, name in enumerate(like)})
    everything = np.arange(len(items), dtype=np.int32)
    for who in "ab":
        score = model.score(query(toy, who), everything)
        order = np.lexsort((everything, -np.nan_to_num(score, nan=-1.0)))[: int(np.isfinite(score).sum())]
        for limit in (1, 3, 20):
            assert model.candidates(query(toy, who), limit).item_idx.tolist() == order[:limit].tolist()
