"""`gf_cf`, `ease` and `sequence` against the formulas of their papers, in worlds small enough for dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp

from features.dataset import Dataset
from models.query import Candidates, Query
from models.recommenders.ease import EaseConfig, fit_ease
from models.recommenders.evidence import EvidenceConfig, pair_matrix
from models.recommenders.gf_cf import GfCfConfig, fit_gf_cf, leading_directions
from models.recommenders.sequence import SequenceConfig, fit_sequence
from tests.worlds import history, query, world


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def names(dataset: Dataset, found: Candidates) -> list[str]:
    return [dataset.products.ids.text(int(i)) for i in found.item_idx]


def crowd(n_customers: int = 40, n_items: int = 15) -> Dataset:
    chance = np.random.default_rng(1)
    liked = chance.random((n_customers, n_items)) < np.linspace(0.6, 0.1, n_items)
    return world([(f"c{u}", f"p{i:02d}", 5) for u, i in zip(*np.nonzero(liked), strict=True)], as_of=6)


CROWD = crowd()
WANTED = (pair_matrix(CROWD, EvidenceConfig()).toarray() > 0).astype(np.float64)


def dense_scores(model: object, asked: Query, n_items: int) -> np.ndarray:
    return np.nan_to_num(model.score(asked, np.arange(n_items, dtype=np.int32)))  # type: ignore[attr-defined] # any source


def test_gf_cf_is_the_formula_of_the_paper_when_nothing_is_cut() -> None:
    model = fit_gf_cf(CROWD, GfCfConfig(dim=4, low_pass=0.3, n_passes=12), rng())
    by_item, by_customer = WANTED.sum(axis=0), WANTED.sum(axis=1)
    normal = WANTED / np.sqrt(np.outer(by_customer, by_item))
    leading = np.linalg.svd(normal)[2][:4].T
    linear = normal.T @ normal
    np.fill_diagonal(linear, 0.0)
    low_pass = (leading / np.sqrt(by_item)[:, None]) @ (leading * np.sqrt(by_item)[:, None]).T
    asked = query(CROWD, "c3")
    expected = WANTED[CROWD.customers.ids.idx("c3")] @ (linear + 0.3 * low_pass)
    found = dense_scores(model, asked, WANTED.shape[1])
    reached = found != 0
    scale = found[reached][0] / expected[reached][0]  # the profile's weights decay alike: one common factor
    np.testing.assert_allclose(found[reached], scale * expected[reached], rtol=1e-4)


def test_leading_directions_are_those_of_the_singular_value_decomposition() -> None:
    matrix = sp.csr_array(WANTED.astype(np.float32))
    found = leading_directions(matrix, sp.csr_array(matrix.T.tocsr()), 3, 12, rng())
    exact = np.linalg.svd(WANTED)[2][:3].T
    np.testing.assert_allclose(np.abs((found * exact).sum(axis=0)), 1.0, atol=1e-4)
    assert (found.max(axis=0) == np.abs(found).max(axis=0)).all()


def test_directions_past_the_rank_are_zero() -> None:
    matrix = sp.csr_array(np.ones((4, 3), np.float32))
    found = leading_directions(matrix, sp.csr_array(matrix.T.tocsr()), 3, 2, rng())
    np.testing.assert_allclose(found[:, 0], 1 / np.sqrt(3), rtol=1e-5)
    assert not found[:, 1:].any()


def test_ease_is_the_closed_form_when_everything_fits() -> None:
    model = fit_ease(CROWD, EaseConfig(regularization=0.5), rng())
    ridge = 0.5 * WANTED.sum() / WANTED.shape[1]
    inverse = np.linalg.inv(WANTED.T @ WANTED + ridge * np.eye(WANTED.shape[1]))
    expected = inverse / -np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    assert (model.n_modelled, model.covered) == (15, 1.0)
    np.testing.assert_allclose(model.weights.toarray(), expected, rtol=1e-3, atol=1e-5)


def test_ease_models_what_most_want_as_far_as_memory_reaches_and_says_what_it_covers() -> None:
    reach = {0: (0, 250), 1: (150, 400), 2: (0, 250), 3: (150, 350)}
    shop = world([(f"c{u}", f"p{i:03d}", 5) for u, span in reach.items() for i in range(*span)], as_of=6)
    model = fit_ease(shop, EaseConfig(memory_mb=1), rng())
    # sqrt(1 MB / 8 bytes) = 353: the 350 wanted by two and more, then the first of those wanted by one
    assert model.n_modelled == 353
    assert np.flatnonzero(np.diff(model.weights.indptr)).tolist() == list(range(353))
    assert model.covered == pytest.approx((100 * 4 + 250 * 2 + 3) / 950)


def after(shop: Dataset, item: str) -> list[str]:
    asked = query(shop, history=history(shop, [(item, 28)]))
    return names(shop, fit_sequence(shop, SequenceConfig(together=0), rng()).candidates(asked, 5))


def test_what_follows_leads_one_way() -> None:
    rows = [(f"c{u}", item, day) for u in range(5) for item, day in (("printer", 1), ("ink", 4))]
    shop = world(rows, as_of=30)
    assert after(shop, "printer") == ["ink"]
    assert after(shop, "ink") == []


def test_the_next_step_counts_more_than_a_later_one_and_a_late_one_less() -> None:
    rows = [(f"c{u}", item, day) for u in range(5) for item, day in (("bed", 1), ("sheet", 2), ("lamp", 3))]
    rows += [("late", "bed", 1), ("late", "rug", 25)]
    assert after(world(rows, as_of=30), "bed") == ["sheet", "lamp", "rug"]


def test_only_the_same_customer_leads_on() -> None:
    shop = world([("ann", "tent", 1), ("bob", "stove", 2)], as_of=30)
    assert after(shop, "tent") == []


def test_what_stands_in_one_basket_leads_both_ways() -> None:
    shop = world([("ann", "cup", 1), ("ann", "plate", 1)], as_of=30)
    model = fit_sequence(shop, SequenceConfig(), rng())
    for one, other in (("cup", "plate"), ("plate", "cup")):
        found = model.candidates(query(shop, seeds=[one]), 5)
        assert other in names(shop, found)


def test_the_last_steps_speak_louder_than_the_first() -> None:
    rows = [(f"a{u}", item, day) for u in range(3) for item, day in (("oil", 1), ("filter", 2))]
    rows += [(f"b{u}", item, day) for u in range(3) for item, day in (("paint", 1), ("brush", 2))]
    shop = world(rows, as_of=30)
    model = fit_sequence(shop, SequenceConfig(together=0), rng())
    asked = query(shop, history=history(shop, [("paint", 20), ("oil", 28)]))
    assert names(shop, model.candidates(asked, 5)) == ["filter", "brush"]
    assert model.because(asked, shop.products.ids.idx("brush")) == shop.products.ids.idx("paint")
    assert model.because(asked, shop.products.ids.idx("oil")) == -1
