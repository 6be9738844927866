"""Completing a basket in shops where the missing product is known."""

import numpy as np
import pytest
import scipy.sparse as sp

from models.artifact import load_value, save_value
from models.completion.lessons import bundle_questions, latest_baskets, read_baskets
from models.completion.signals import SIGNALS, Companions, Question, Signals, bundle_matrix
from models.completion.wording import Wording, WordingConfig
from models.rank.ranker import RankerConfig
from models.recommenders.completion import CompletionConfig, CompletionModel, fit_completion, teach_completion
from tests import worlds

SMALL = RankerConfig(n_trees=30, n_leaves=4, min_rows_in_leaf=10, least_questions=30, learning_rate=0.1)
CONFIG = CompletionConfig(ranker=SMALL)
THINGS = ("camera", "printer", "phone", "drill", "piano")


def fit(dataset, config=CONFIG):
    return fit_completion(dataset, config, np.random.default_rng(3))


def names(dataset, found):
    return [dataset.products.ids.text(int(i)) for i in found.item_idx]


def grocery():
    """Pasta and sauce share baskets, so do tea and cups, though no word is shared; filler is bought at random."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(300):
        pair = ("pasta", "sauce") if number % 2 else ("tea", "cup")
        filler = [f"filler{i}" for i in rng.choice(20, 2, replace=False)]
        rows += [(f"c{number % 40}", item, number / 4, "purchase", f"o{number}") for item in (*pair, *filler)]
    products = [{"product_id": name, "title": f"{name} of the house"} for name in ("pasta", "sauce", "tea", "cup")]
    products += [{"product_id": f"filler{i}", "title": f"thing {i}"} for i in range(20)]
    return worlds.world(rows, products=products, as_of=80)


def long_tail_rows(n=60):
    """Every model of a thing has an accessory that names it; each pair is one bundle, and nothing was ever bought."""
    products, bundles = [], []
    for number in range(n):
        thing = THINGS[number % len(THINGS)]
        products += [
            {"product_id": f"main{number}", "title": f"{thing} mk{number} body", "category": f"{thing}/main"},
            {"product_id": f"acc{number}", "title": f"spare part for mk{number}", "category": f"{thing}/parts"},
            {"product_id": f"like{number}", "title": f"{thing} series body kit {number}", "category": f"{thing}/main"},
        ]
        if number < n - 5:
            bundles.append({"bundle_id": f"b{number}", "product_ids": [f"main{number}", f"acc{number}"]})
    return [("ann", f"main{number}", 1, "click") for number in range(n)], products, bundles


def long_tail():
    rows, products, bundles = long_tail_rows()
    return worlds.world(rows, products=products, bundles=bundles, as_of=9)


@pytest.fixture(scope="module")
def shop():
    return grocery()


@pytest.fixture(scope="module")
def model(shop):
    return fit(shop)


def test_what_shares_baskets_completes_a_basket_without_a_word_in_common(shop, model):
    assert names(shop, model.candidates(worlds.query(shop, seeds=["pasta"]), 1)) == ["sauce"]
    assert names(shop, model.candidates(worlds.query(shop, seeds=["cup"]), 1)) == ["tea"]


def test_what_names_the_product_completes_it_where_nothing_was_ever_bought_together():
    dataset = long_tail()
    fitted = fit(dataset)
    assert fitted.forests.boosters
    for number in range(55, 60):  # no bundle holds these
        assert names(dataset, fitted.candidates(worlds.query(dataset, seeds=[f"main{number}"]), 1)) == [f"acc{number}"]


def test_with_too_little_to_learn_from_a_rule_orders(shop):
    fitted = fit(shop, CompletionConfig(ranker=RankerConfig(least_questions=10**6)))
    assert not fitted.forests.boosters
    assert names(shop, fitted.candidates(worlds.query(shop, seeds=["pasta"]), 1)) == ["sauce"]


def test_the_basket_itself_is_never_proposed(shop, model):
    assert not {"pasta", "tea"} & set(names(shop, model.candidates(worlds.query(shop, seeds=["pasta", "tea"]), 50)))


def test_what_a_customer_always_buys_stands_higher_for_him(shop, model):
    habit = worlds.history(shop, [("filler7", day) for day in range(70, 79)])
    item = shop.products.ids.idxs(["filler7"])
    with_it, without = (
        model.score(worlds.query(shop, seeds=["pasta"], **known), item)[0] for known in ({"history": habit}, {})
    )
    assert np.isnan(without) or with_it > without


def test_it_says_which_product_of_the_basket_another_goes_with(shop, model):
    query, idx = worlds.query(shop, seeds=["tea", "pasta"]), shop.products.ids.idx
    assert model.because(query, idx("sauce")) == idx("pasta")
    assert model.because(query, idx("cup")) == idx("tea")


def test_saved_and_loaded_it_answers_bit_identically(tmp_path):
    dataset = long_tail()
    fitted = fit(dataset)
    assert fitted.forests.boosters
    save_value(fitted, tmp_path / "model")
    again = load_value(CompletionModel, tmp_path / "model")
    asked = worlds.query(dataset, seeds=["main3", "acc7"])
    one, other = (each.candidates(asked, 20) for each in (fitted, again))
    assert one.score.tobytes() == other.score.tobytes()
    assert one.item_idx.tobytes() == other.item_idx.tobytes()


def test_baskets_are_read_in_the_order_of_time(shop):
    baskets = read_baskets(shop)
    assert baskets.items.shape[0] == 300
    assert (np.diff(baskets.at) >= 0).all()
    assert (np.diff(baskets.items.indptr) == 4).all()
    late = latest_baskets(baskets)
    assert len(late) == pytest.approx(60, abs=1)
    assert baskets.at[late].min() > baskets.at[: late[0]].max()


def test_baskets_without_an_order_in_time_are_not_asked_about():
    dataset = worlds.world([(f"c{n}", item, 5, "purchase", f"o{n}") for n in range(9) for item in "ab"], as_of=6)
    assert len(latest_baskets(read_baskets(dataset))) == 0


def companions(bundles, n_items, kind=None):
    parts = bundle_matrix([np.array(b, np.int32) for b in bundles], n_items)
    walk = sp.csr_array((n_items, n_items), dtype=np.float32)
    codes = np.full(n_items, -1, np.int32) if kind is None else np.array(kind, np.int32)
    return Companions(walk, np.zeros(n_items, np.float32), parts, codes, int(codes.max()) + 1)


def silent_words(n_items):
    frame = worlds.rows_of("products", [{"product_id": str(i)} for i in range(n_items)])
    return Wording.fit(frame, WordingConfig(), np.random.default_rng(0))


def test_nothing_of_a_bundle_that_is_asked_about_is_in_its_signals():
    """What is left out says as little as if the shop had never had it."""
    kind = [0, 1, 2, 0, 1, 2]
    bundles = [[0, 1], [0, 1, 2], [3, 4], [1, 5]]
    hidden = Question(np.array([0], np.int32), left_out=np.array([0, 1], np.int32))
    asked = Signals.of(hidden, silent_words(6), companions(bundles, 6, kind))
    never = Signals.of(Question(np.array([0], np.int32)), silent_words(6), companions(bundles[2:], 6, kind))
    every = np.arange(6, dtype=np.int32)
    np.testing.assert_allclose(asked.matrix(every), never.matrix(every), atol=1e-6)
    for name, value in asked.proposed.items():
        np.testing.assert_allclose(value, never.proposed[name], atol=1e-6, err_msg=name)
    assert Signals.of(Question(np.array([0], np.int32)), silent_words(6), companions(bundles, 6, kind)).proposed[
        "bundled"
    ][1] == pytest.approx(1.5)


def test_a_bundle_is_left_out_with_its_variants():
    bundles = bundle_matrix([np.array(b, np.int32) for b in ([0, 1, 2], [1, 2, 3], [2, 4], [5])], 6)
    asked = list(bundle_questions(bundles, 100, 10, np.random.default_rng(0)))
    assert len(asked) == 8  # every part of every bundle of two at least
    first = asked[0][0]
    assert first.left_out.tolist() == [0, 1]
    assert all(hidden not in question.seeds for question, hidden in asked)


def test_what_only_the_asked_baskets_themselves_know_is_in_no_lesson():
    """Every late basket holds a pair that no other basket holds: the pair must not have been counted in its lesson."""
    rows = [(f"c{n % 30}", item, n / 10, "purchase", f"o{n}") for n in range(400) for item in ("bread", f"x{n % 9}")]
    rows += [(f"c{n}", f"{side}{n}", 41, "purchase", f"late{n}") for n in range(100) for side in ("left", "right")]
    products = [
        {"product_id": f"{side}{n}", "title": f"pair{n} {side}"} for n in range(100) for side in ("left", "right")
    ]
    dataset = worlds.world(rows, products=products, as_of=42)
    baskets, rng = read_baskets(dataset), np.random.default_rng(0)
    wording = Wording.fit(dataset.products.frame, WordingConfig(), rng)
    bundles = bundle_matrix([], len(dataset.products))
    served, lessons = teach_completion(dataset, baskets, bundles, wording, CONFIG, rng)
    told = {
        name: lessons.matrix[lessons.wanted, SIGNALS.index(name)] for name in ("walk", "walk_best", "sold", "title")
    }
    assert len(told["walk"]) >= 90  # found by the word that they share
    assert (told["title"] > 0).all()
    assert not any(told[name].any() for name in ("walk", "walk_best", "sold"))
    left, right = dataset.products.ids.idxs(["left3", "right3"])
    assert served.walk[left, right] > 0  # what is served with has counted them


def test_every_signal_has_a_column():
    matrix = Signals.of(Question(np.array([0], np.int32)), silent_words(4), companions([[0, 1]], 4)).matrix(
        np.array([1, 2], np.int32)
    )
    assert matrix.shape == (2, len(SIGNALS))
    assert np.isfinite(matrix).all()
