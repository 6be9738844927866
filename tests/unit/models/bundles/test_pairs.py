"""What is bought together in a world where the answer is known."""

import numpy as np
import pytest

from models.bundles.links import LinkFinder
from models.bundles.pairs import PairsConfig, basket_matrix, fit_pairs
from models.bundles.space import ProductSpace
from models.items import ItemTable
from tests import bundle_world, worlds


def finder(dataset, **config):
    told = PairsConfig(**config)
    return LinkFinder(fit_pairs(dataset, told), ProductSpace.of({}), ItemTable.of(dataset.products), told.prior, 0.0)


def link(found, a, b):
    one, other = (np.array([found.items.idx(name)], np.int32) for name in (a, b))
    links = found.links(one, other)
    return float(links.pull[0, 0]), float(links.lift[0, 0]), int(links.count[0, 0])


@pytest.fixture(scope="module")
def found():
    return finder(bundle_world.dataset())


def test_what_is_bought_together_goes_together_both_counted_and_drawn(found):
    pull, lift, count = link(found, "vacuum", "bags")
    assert count == 12
    assert pull > 0
    assert 1 < lift < 52 / 12  # what the plain counts would say: 12 of 12 orders, against 12 of 52


def test_what_is_in_every_basket_goes_with_nothing(found):
    assert [link(found, name, "bread") for name in ("vacuum", "tea", "lamp")] == [(0, 0, 0)] * 3


def test_a_link_has_a_direction(found):
    there, back = link(found, "honey", "tea"), link(found, "tea", "honey")
    assert there[2] == back[2] == 8
    assert there[0] > back[0]  # who buys honey nearly always buys tea, who buys tea seldom honey


def test_a_pair_of_long_ago_says_less_than_one_of_today():
    old = [(f"a{n}", item, 1, "purchase", f"a{n}") for n in range(9) for item in ("tea", "cup")]
    new = [(f"b{n}", item, 399, "purchase", f"b{n}") for n in range(9) for item in ("tea", "honey")]
    rest = [(f"r{n}", "bread", 200, "purchase", f"r{n}") for n in range(30)]
    dataset = worlds.world([*old, *new, *rest], products=bundle_world.PRODUCTS, as_of=400)
    found = finder(dataset, half_life_days=60)
    assert link(found, "tea", "honey")[0] > link(found, "tea", "cup")[0]


def test_a_product_that_nobody_bought_goes_with_what_its_kind_goes_with(found):
    pull, lift, count = link(found, "tea-rare", "cup")
    assert count == 0
    assert pull > 0
    assert lift > 1
    reached = found.reached(np.array([found.items.idx("tea-rare")], np.int32))
    assert found.items.idx("cup") in reached


def test_few_baskets_are_drawn_towards_what_the_kinds_say():
    baskets = [*bundle_world.baskets(), *[(f"x{n}", item, 20, "purchase", f"x{n}") for n in range(3)
                                          for item in ("tea-rare", "lamp")]]  # fmt: skip
    dataset = worlds.world(baskets, products=bundle_world.PRODUCTS, as_of=60)
    lifts = [link(finder(dataset, prior=prior), "tea-rare", "lamp")[1] for prior in (0.01, 1.0)]
    assert lifts[0] > lifts[1] > 0


def test_one_order_counts_a_product_once_and_an_order_too_large_not_at_all():
    rows = [("c", "tea", 1, "purchase", "o")] * 3 + [("c", "cup", 1, "purchase", "o")]
    rows += [("d", item["product_id"], 2, "purchase", "big") for item in bundle_world.PRODUCTS]
    held, age_days = basket_matrix(worlds.world(rows, products=bundle_world.PRODUCTS, as_of=3), 5)
    assert held.toarray().sum() == 2
    assert age_days.tolist() == [2.0]


@pytest.mark.parametrize("rows", [[], [("c", "tea", 1)]])
def test_a_shop_that_sold_nothing_or_one_thing_has_no_pairs(rows):
    dataset = worlds.world(rows, products=bundle_world.PRODUCTS, as_of=5)
    evidence = fit_pairs(dataset, PairsConfig())
    assert evidence.partners.nnz == 0
    assert len(evidence.openers) == 0


def test_products_without_categories_still_have_pairs():
    plain = [{"product_id": one["product_id"]} for one in bundle_world.PRODUCTS]
    found = finder(worlds.world(bundle_world.baskets(), products=plain, as_of=60))
    assert link(found, "vacuum", "bags")[2] == 12


def test_blocks_change_nothing():
    dataset = bundle_world.dataset()
    whole, small = (fit_pairs(dataset, PairsConfig(block_pairs=n)) for n in (8_000_000, 3))
    assert whole.partners.indices.tolist() == small.partners.indices.tolist()
    assert whole.partners.data.tolist() == small.partners.data.tolist()
