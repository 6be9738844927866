"""What every candidate source promises (`models.seams.CandidateSource`), asked of every line of the catalogue."""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from features.dataset import Dataset
from models.arrivals import Arrivals
from models.artifact import load_value, save_value
from models.catalogue import SOURCES
from models.items import ItemTable
from models.query import Candidates, Query
from models.seams import CandidateSource, Growing, ManySided
from tests.worlds import day, history, query, two_tastes, world

NOT_PERSONAL = {"popular", "newest"}
WORLD = two_tastes()
BARE = world([("ann", "a", 1), ("ann", "b", 2), ("bob", "a", 3), ("bob", "c", 4), ("cat", "b", 5), ("cat", "a", 5)])


def fitted(name: str, dataset: Dataset) -> CandidateSource:
    entry = SOURCES[name]
    return entry.fit(dataset, entry.config(), np.random.default_rng(7))


@cache
def fitted_to_world(name: str) -> CandidateSource:
    return fitted(name, WORLD)


def same(one: Candidates, other: Candidates) -> bool:
    return np.array_equal(one.item_idx, other.item_idx) and one.score.tobytes() == other.score.tobytes()


def questions(dataset: Dataset) -> list[Query]:
    unknown = history(dataset, [("no-such-item", 1), (dataset.products.ids.text(0), 2), ("no-such-item", 3, "view")])
    return [
        *(query(dataset, who) for who in dataset.customers.ids.texts),
        query(dataset),
        query(dataset, history=unknown),
        query(dataset, seeds=[dataset.products.ids.text(1)]),
        query(dataset, seeds=["no-such-item"]),
        query(dataset, attributes={"region": "tealand", "tier": "gold"}),
    ]


@pytest.mark.parametrize("name", SOURCES)
class TestSourceConformance:
    @pytest.fixture
    def model(self, name: str) -> CandidateSource:
        return fitted_to_world(name)

    def test_candidates_keep_the_contract(self, name: str, model: CandidateSource) -> None:
        for asked in questions(WORLD):
            for limit in (1, 3, 1000):
                found = model.candidates(asked, limit)
                assert found.item_idx.dtype == np.int32
                assert found.score.dtype == np.float32
                assert len(found) == len(found.score) <= limit
                assert len(np.unique(found.item_idx)) == len(found)
                assert np.isfinite(found.score).all()
                assert ((found.item_idx >= 0) & (found.item_idx < len(WORLD.products))).all()
                assert np.array_equal(np.lexsort((found.item_idx, -found.score)), np.arange(len(found)))

    def test_a_regular_gets_something(self, name: str, model: CandidateSource) -> None:
        assert len(model.candidates(query(WORLD, "tea-3"), 5))

    def test_a_smaller_limit_gives_the_head_of_the_same_list(self, name: str, model: CandidateSource) -> None:
        for asked in questions(WORLD):
            every, few = model.candidates(asked, 1000), model.candidates(asked, 2)
            assert same(few, Candidates(every.item_idx[:2], every.score[:2]))

    def test_score_repeats_what_candidates_say(self, name: str, model: CandidateSource) -> None:
        for asked in questions(WORLD):
            found = model.candidates(asked, 1000)
            scored = model.score(asked, found.item_idx)
            assert scored.dtype == np.float32
            np.testing.assert_allclose(scored, found.score, rtol=1e-6)

    def test_a_stranger_gets_nothing_unless_the_source_is_not_personal(self, name: str, model: CandidateSource) -> None:
        found = model.candidates(query(WORLD), 5)
        assert bool(len(found)) == (name in NOT_PERSONAL)
        if name not in NOT_PERSONAL:
            assert np.isnan(model.score(query(WORLD), np.array([0, 1], np.int32))).all()

    def test_items_the_model_does_not_know_score_nan(self, name: str, model: CandidateSource) -> None:
        unknown = np.array([-1, len(WORLD.products), len(WORLD.products) + 10**6], np.int32)
        for asked in questions(WORLD):
            assert np.isnan(model.score(asked, unknown)).all()
        assert model.score(query(WORLD, "tea-3"), np.empty(0, np.int32)).shape == (0,)

    def test_a_history_or_seeds_newer_than_the_release_do_no_harm(self, name: str, model: CandidateSource) -> None:
        asked = query(WORLD, "tea-3")
        newer = replace(asked.history, item_idx=np.full_like(asked.history.item_idx, len(WORLD.products) + 5))
        model.candidates(replace(asked, history=newer, customer_idx=10**6), 5)
        model.candidates(replace(asked, seeds=np.array([-1, len(WORLD.products) + 5], np.int32)), 5)

    def test_the_query_is_not_changed(self, name: str, model: CandidateSource) -> None:
        asked = query(WORLD, "tea-3")
        arrays = [getattr(asked.history, f.name) for f in fields(asked.history)]
        before = [array.copy() for array in arrays]
        model.candidates(asked, 5)
        model.score(asked, np.arange(5, dtype=np.int32))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, before, strict=True))

    def test_saved_and_loaded_it_answers_bit_identically(
        self, name: str, model: CandidateSource, tmp_path: Path
    ) -> None:
        save_value(model, tmp_path / "model")
        again = load_value(SOURCES[name].model, tmp_path / "model")
        every = np.arange(-1, len(WORLD.products) + 1, dtype=np.int32)
        for asked in questions(WORLD):
            assert same(model.candidates(asked, 5), again.candidates(asked, 5))
            assert model.score(asked, every).tobytes() == again.score(asked, every).tobytes()

    def test_fitted_twice_it_is_the_same(self, name: str, tmp_path: Path) -> None:
        for folder in ("one", "two"):
            save_value(fitted(name, two_tastes()), tmp_path / folder)
        one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()}
        two = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*") if p.is_file()}
        assert one == two

    @pytest.mark.parametrize(
        "dataset",
        [world(), world([("ann", "a", 1)]), world([], products=[{"product_id": "p", "title": "tea"}]), BARE],
        ids=["empty", "one customer", "catalogue only", "no titles"],
    )
    def test_small_and_bare_worlds_can_be_fitted_and_asked(self, name: str, dataset: Dataset, tmp_path: Path) -> None:
        model = fitted(name, dataset)
        save_value(model, tmp_path / "model")
        again = load_value(SOURCES[name].model, tmp_path / "model")
        for who in ("ann", "stranger"):
            found = model.candidates(query(dataset, who), 5)
            assert len(found) <= len(dataset.products)
            assert same(found, again.candidates(query(dataset, who), 5))
            model.candidates(query(dataset, who, seeds=["a", "p"]), 5)


MANY_SIDED = [(name, aspect) for name, entry in SOURCES.items() for aspect in entry.aspects]


def many_sided(model: CandidateSource) -> ManySided:
    assert isinstance(model, ManySided)
    return model


def test_the_sources_with_aspects_are_those_whose_type_has_them() -> None:
    assert {name for name in SOURCES if isinstance(fitted_to_world(name), ManySided)} == {
        name for name, _ in MANY_SIDED
    }


@pytest.mark.parametrize(("name", "aspect"), MANY_SIDED)
class TestAspectConformance:
    every = np.arange(-1, len(WORLD.products) + 2, dtype=np.int32)

    def test_each_item_has_a_number_and_unknown_ones_none(self, name: str, aspect: str) -> None:
        for asked in questions(WORLD):
            said = many_sided(fitted_to_world(name)).aspect(aspect, asked, self.every)
            assert said.dtype == np.float32
            assert said.shape == self.every.shape
            assert np.isnan(said[[0, -2, -1]]).all()
        known = many_sided(fitted_to_world(name)).aspect(aspect, query(WORLD, "tea-3"), self.every)[1:-2]
        assert np.isfinite(known).all()
        assert len(np.unique(known)) > 1

    def test_of_a_stranger_nothing_is_said(self, name: str, aspect: str) -> None:
        assert np.isnan(many_sided(fitted_to_world(name)).aspect(aspect, query(WORLD), self.every)).all()

    def test_the_company_of_other_items_changes_nothing(self, name: str, aspect: str) -> None:
        model, asked = many_sided(fitted_to_world(name)), query(WORLD, "tea-3")
        alone = [model.aspect(aspect, asked, self.every[i : i + 1]).tobytes() for i in range(len(self.every))]
        assert b"".join(alone) == model.aspect(aspect, asked, self.every).tobytes()
        assert model.aspect(aspect, asked, np.empty(0, np.int32)).shape == (0,)

    def test_a_name_it_does_not_have_is_a_key_error(self, name: str, aspect: str) -> None:
        with pytest.raises(KeyError):
            many_sided(fitted_to_world(name)).aspect(f"no {aspect}", query(WORLD, "tea-3"), self.every)

    def test_saved_and_loaded_it_says_the_same(self, name: str, aspect: str, tmp_path: Path) -> None:
        model = many_sided(fitted_to_world(name))
        save_value(model, tmp_path / "model")
        again = many_sided(load_value(SOURCES[name].model, tmp_path / "model"))
        for asked in questions(WORLD):
            said, repeated = (each.aspect(aspect, asked, self.every) for each in (model, again))
            assert said.tobytes() == repeated.tobytes()


CAME = [
    {"product_id": "tea9", "title": "green tea no 9", "category": "drinks/tea", "brand": "tea house"},
    {"product_id": "bare"},
    {"product_id": "mate", "title": "mate leaves", "category": "drinks/mate", "brand": "new house"},
    {"product_id": "tea8", "title": "green tea no 8", "category": "drinks/tea", "brand": "tea house"},
]
ROWS: list[dict[str, object]] = [row | {"created_at": day(41)} for row in CAME]
KNOWN = ItemTable.of(WORLD.products)
GROWN = KNOWN.with_changes(ROWS)
GROWING = [name for name in SOURCES if isinstance(fitted_to_world(name), Growing)]


def grown_by(model: Growing, *batches: list[dict[str, object]]) -> Growing:
    items = KNOWN
    for rows in batches:
        items = items.with_changes(rows)
        model = model.grown(Arrivals.of(rows, items))
    return model


def test_the_sources_that_can_take_in_what_came_after_training_are_these() -> None:
    assert GROWING == ["content_based", "own_kinds", "newest"]


@pytest.mark.parametrize("name", GROWING)
class TestGrowingConformance:
    @pytest.fixture
    def before(self, name: str) -> Growing:
        model = fitted_to_world(name)
        assert isinstance(model, Growing)
        return model

    @pytest.fixture
    def after(self, before: Growing) -> Growing:
        return grown_by(before, ROWS)

    def test_what_came_is_found_and_scored_alike(self, name: str, after: Growing) -> None:
        asked = query(WORLD, "tea-3")
        found = after.candidates(asked, 1000)
        assert GROWN.idx("tea9") in found.item_idx
        assert ((found.item_idx >= 0) & (found.item_idx < len(GROWN))).all()
        assert np.array_equal(np.lexsort((found.item_idx, -found.score)), np.arange(len(found)))
        np.testing.assert_allclose(after.score(asked, found.item_idx), found.score, rtol=1e-6)
        few = after.candidates(asked, 3)
        assert same(few, Candidates(found.item_idx[:3], found.score[:3]))

    def test_what_was_known_is_scored_as_before_and_the_old_value_is_untouched(
        self, name: str, before: Growing, after: Growing
    ) -> None:
        every = np.arange(len(WORLD.products), dtype=np.int32)
        for asked in questions(WORLD):
            assert before.score(asked, every).tobytes() == after.score(asked, every).tobytes()
            assert np.isnan(before.score(asked, np.array([GROWN.idx("tea9")], np.int32))).all()

    def test_one_by_one_or_all_at_once_it_is_the_same_and_what_was_told_last_counts(
        self, name: str, before: Growing, after: Growing
    ) -> None:
        # Indexes follow the order of arrival, so that stays; what is told between, and again, is mended at the end.
        wrong = [row | {"category": "food", "title": "rye", "created_at": day(7)} for row in ROWS[:2]]
        other = grown_by(before, wrong, [ROWS[2]], [ROWS[3]], [ROWS[1]], [ROWS[0]])
        every = np.arange(len(GROWN) + 1, dtype=np.int32)
        for asked in [*questions(WORLD), query(WORLD, seeds=["tea1", "bread"])]:
            assert after.score(asked, every).tobytes() == other.score(asked, every).tobytes()
            for limit in (2, 1000):
                assert same(after.candidates(asked, limit), other.candidates(asked, limit))

    def test_it_can_be_asked_about_what_came(self, name: str, after: Growing) -> None:
        seeds = GROWN.idxs(["tea9"])
        found = after.candidates(replace(query(WORLD), seeds=seeds), 5)
        assert len(found)
        bought = replace(query(WORLD, "tea-3").history, item_idx=np.full(5, seeds[0], np.int32))
        assert len(after.candidates(query(WORLD, "tea-3", history=bought), 5))

    def test_loaded_from_a_release_it_grows_as_well(self, name: str, before: Growing, tmp_path: Path) -> None:
        save_value(before, tmp_path / "model")
        again = load_value(SOURCES[name].model, tmp_path / "model")
        assert isinstance(again, Growing)
        every = np.arange(len(GROWN), dtype=np.int32)
        for asked in questions(WORLD):
            one, other = grown_by(before, ROWS), grown_by(again, ROWS)
            assert one.score(asked, every).tobytes() == other.score(asked, every).tobytes()

    @pytest.mark.parametrize("dataset", [world(), world([("ann", "a", 1)]), BARE], ids=["empty", "one", "no titles"])
    def test_a_bare_shop_can_grow(self, name: str, dataset: Dataset) -> None:
        model = fitted(name, dataset)
        assert isinstance(model, Growing)
        items = ItemTable.of(dataset.products).with_changes(ROWS)
        grown = model.grown(Arrivals.of(ROWS, items))
        for who in ("ann", "stranger"):
            found = grown.candidates(query(dataset, who), 50)
            assert ((found.item_idx >= 0) & (found.item_idx < len(items))).all()
