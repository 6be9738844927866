"""Audiences over toy worlds: who wants it, whom the rules keep out, what is expected."""

from dataclasses import replace

import numpy as np
import pytest

from features.columns import ItemKind
from features.dataset import Dataset
from features.errors import ReleaseError
from models.audience.aim import Aim, UnknownAim, take_aim
from models.audience.crowd import Crowd, see_crowd
from models.audience.lessons import LessonsConfig, fit_logistic, lessons_of
from models.audience.model import AudienceConfig, AudienceModel, fit_audience
from models.audience.sales import sales_before
from models.audience.selection import Budget, Cap, Member, Rules, Selection, expected
from models.audience.target import Target
from models.audience.traits import TRAITS, traits_of
from models.catalogue import PARTS
from models.forgetting import Gone
from models.rank.ranker import TreesConfig
from models.recommenders.evidence import EvidenceConfig
from models.revision import without
from models.rng import derived_rng
from tests import serving, worlds

WEEKS = 16
SMALL = AudienceConfig(
    lessons=LessonsConfig(least_buyers=3, least_responses=20, products=20, silent_share=1.0, horizon_days=14),
    trees=TreesConfig(n_trees=40, n_leaves=4, min_rows_in_leaf=10),
)


def habits() -> Dataset:
    """Twenty weekly tea drinkers, twenty of coffee, twenty who stopped buying tea long ago; all buy bread."""
    rows = []
    for who in range(20):
        for week in range(WEEKS):
            day = 7 * week + who % 7
            rows += [(f"tea-{who}", "tea", day), (f"tea-{who}", f"bread{who % 3}", day)]
            rows += [(f"coffee-{who}", "coffee", day), (f"coffee-{who}", f"bread{who % 3}", day)]
            rows += [(f"past-{who}", "tea" if week < 4 else "coffee", day), (f"past-{who}", f"bread{who % 3}", day)]
    products = [{"product_id": p, "title": p, "category": f"drinks/{p}"} for p in ("tea", "coffee")]
    products += [{"product_id": f"bread{n}", "title": "bread", "category": "food/bread"} for n in range(3)]
    products += [{"product_id": "new-tea", "title": "new tea", "category": "drinks/tea"}]
    return worlds.world(rows, products=products, as_of=7 * WEEKS + 7)


@pytest.fixture(scope="module")
def shop():
    return habits()


@pytest.fixture(scope="module")
def model(shop):
    return fit_audience(shop, {}, SMALL, derived_rng(0, "test"))


@pytest.fixture(scope="module")
def models(shop, model):
    fitted = serving.fitted(shop, ("popular",))
    return replace(fitted, parts={"audience": model})


def names(shop, rows):
    return [shop.customers.ids.text(int(idx)) for idx in rows]


def aimed(models, kind, name, **more):
    model = models.part(AudienceModel)
    return take_aim(Aim(kind, name, **more), models.storefront, model.crowd, models.as_of)


def test_those_who_buy_it_now_come_before_those_who_stopped(shop, model):
    tea = Target.of(model.crowd, shop.products.ids.idxs(["tea"]))
    found = model.responses(tea, shop.product_events)
    assert {name.split("-")[0] for name in names(shop, found.order[:20])} == {"tea"}
    assert found.score[shop.customers.ids.idx("tea-3")] > 0.8
    assert found.score[shop.customers.ids.idx("past-3")] < 0.3
    drinker, days = shop.customers.ids.idx("tea-3"), found.days_since(shop.customers.ids.idx("tea-3"))
    for ago in (0.0, 3.2):
        said = f"Bought it 16 times, last {int(days + ago)} days ago"
        assert found.reason_for(drinker, ago).en == said
    assert found.reason_for(drinker, -days).en == "Bought it 16 times, last today"


def test_what_is_expected_of_all_is_near_to_what_happens(shop, model):
    tea = Target.of(model.crowd, shop.products.ids.idxs(["tea"]))
    assert model.responses(tea, shop.product_events).score.sum() == pytest.approx(20, rel=0.2)


def test_a_product_that_came_after_the_release_goes_to_who_buys_its_like(models, shop):
    late = {"product_id": "late-tea", "title": "late tea", "category": "drinks/tea"}
    front = models.storefront.with_changes({ItemKind.product: [late]}, models.products.ids)
    model = models.part(AudienceModel)
    found = take_aim(Aim("product", "late-tea"), front, model.crowd, models.as_of)
    assert found.target.n_new == 1
    assert len(found.notes) == 1
    responses = model.responses(found.target, shop.product_events)
    assert not responses.is_probability
    assert {name.split("-")[0] for name in names(shop, responses.order[:20])} == {"tea"}
    assert responses.under(Rules(Budget(1), least_probability=0.9)).least_probability == 0.0


def test_category_means_all_that_lies_below_it(models, shop):
    assert [shop.products.ids.text(i) for i in aimed(models, "category", "drinks").target.item_idx] == [
        "coffee", "new-tea", "tea",
    ]  # fmt: skip
    assert len(aimed(models, "category", "food/bread").target) == 3


def test_campaign_means_the_products_it_offers(models):
    found = aimed(models, "campaign", "spring", offered=("tea", "bread1", "gone"))
    assert len(found.target) == 2
    assert found.notes == ("1 of its products are not in the catalogue",)


@pytest.mark.parametrize(
    ("kind", "name"), [("product", "x"), ("category", "drink"), ("bundle", "x"), ("content", "x"), ("campaign", "x")]
)
def test_what_nobody_knows_is_said_so(models, kind, name):
    with pytest.raises(UnknownAim, match=kind):
        aimed(models, kind, name)


def test_too_little_to_learn_from_orders_by_a_rule_without_probabilities(shop):
    config = SMALL.model_copy(update={"lessons": SMALL.lessons.model_copy(update={"least_responses": 10**6})})
    model = fit_audience(shop, {}, config, derived_rng(0, "test"))
    assert not model.is_learned
    order = model.responses(Target.of(model.crowd, shop.products.ids.idxs(["tea"])), shop.product_events).order
    assert {name.split("-")[0] for name in names(shop, order[:20])} == {"tea"}


def test_shop_without_order_in_time_learns_nothing():
    shop = worlds.world([(f"c{n}", "tea", 1) for n in range(9)])
    assert not fit_audience(shop, {}, SMALL, derived_rng(0, "test")).is_learned


def test_empty_part_lists_nobody(shop):
    model = AudienceModel.empty()
    assert model.crowd.n_customers == Crowd.empty().n_items == 0
    found = model.responses(Target.of(model.crowd, np.empty(0, np.int32)), worlds.world().product_events)
    assert len(found.order) == 0
    with pytest.raises(ReleaseError, match="pond train"):
        model.responses(Target.of(model.crowd, np.empty(0, np.int32)), shop.product_events)
    assert PARTS["audience"].empty().config == model.config


def test_lessons_see_nothing_of_what_comes_after_their_cut(shop):
    """Everything after the first cut is replaced: what is looked at stays the same to the bit, what is answered not."""
    config = SMALL.lessons.model_copy(update={"cuts": 1})
    cut = shop.as_of - 14 * 86_400_000_000
    events = shop.product_events
    other = events.where(events.at < cut)
    changed = replace(shop, events={**shop.events, ItemKind.product: other}, trails=None)
    true, emptied = (lessons_of(one, config, EvidenceConfig(), np.random.default_rng(1))[0] for one in (shop, changed))
    np.testing.assert_array_equal(true.traits, emptied.traits)
    assert true.bought.any()
    assert not emptied.bought.any()


def test_of_many_customers_some_are_learned_from(shop):
    config = SMALL.lessons.model_copy(update={"customers": 30, "least_buyers": 1})
    found = lessons_of(shop, config, EvidenceConfig(), np.random.default_rng(1))
    assert len(found) == config.cuts
    assert len(found[0].bought) % 30 == 0  # everybody who was drawn is asked about every target


def test_of_a_target_every_basket_counts_once_by_its_first_line_and_looks_apart():
    rows = [("a", "tea", 3), ("a", "coffee", 3), ("a", "tea", 1), ("b", "bread", 2), ("b", "coffee", 4)]
    shop = worlds.world([*rows, ("b", "tea", 4, "view")], as_of=5)
    crowd = see_crowd(shop, EvidenceConfig())
    sales = sales_before(crowd, shop.product_events)
    looked_at = sales.of_items(shop.products.ids.idxs(["coffee", "tea"]))
    bought, looked = sales.bought(looked_at), sales.looked(looked_at)
    assert list(zip(names(shop, bought.who), bought.days.round().tolist(), strict=True)) == [
        ("a", 4.0), ("a", 2.0), ("b", 1.0)
    ]  # fmt: skip
    assert names(shop, looked.who) == ["b"]


def test_alike_leaves_the_customer_himself_out():
    rows = [("only", "tea", 1), ("only", "rare", 1), ("other", "bread", 2), ("third", "bread", 2)]
    shop = worlds.world(rows, as_of=5)
    crowd = see_crowd(shop, EvidenceConfig())
    traits = traits_of(
        Target.of(crowd, shop.products.ids.idxs(["tea"])), crowd, sales_before(crowd, shop.product_events)
    )
    assert np.abs(traits[:, TRAITS.index("alike")]).max() < 1e-6


def test_who_is_forgotten_is_in_no_audience(models, shop):
    clean = without(models, ["tea-3"])
    model, idx = clean.part(AudienceModel), shop.customers.ids.idx("tea-3")
    assert model.crowd.interest[[idx]].nnz == 0
    tea = Target.of(model.crowd, shop.products.ids.idxs(["tea"]))
    order = model.responses(tea, clean.histories).order
    assert idx not in order
    assert model.without(Gone(np.empty(0, np.int32))).crowd.n_customers == model.crowd.n_customers


def test_logistic_gives_true_odds_back():
    rng = np.random.default_rng(0)
    true = rng.normal(-1, 1.5, 40_000)
    wanted = rng.random(len(true)) < 1 / (1 + np.exp(-true))
    told = (true + 0.7) / 0.5  # told odds are twice as bold and shifted
    slope, intercept = fit_logistic(told, wanted, np.ones(len(true), np.float32))
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-0.7, abs=0.05)


def offered(rules, probabilities, attributes=None):
    made = Selection(rules)
    for n, p in enumerate(probabilities):
        made.offer(Member(n, f"c{n}", p), (attributes or {}).get(n, {}))
    return made


def test_money_pays_for_so_many_touches():
    assert Budget(money=0.3, cost=0.1).size == 3
    assert Budget(money=1.0, cost=0.4).size == 2
    assert Budget(customers=5, money=1.0, cost=0.4).size == 2
    assert Budget().size is None


def test_caps_hold_for_each_value_and_for_those_without_one():
    attributes = {n: {"region": "south"} for n in range(4)}
    made = offered(Rules(Budget(10), caps=(Cap("region", 2),)), [0.9] * 8, attributes)
    assert [one.customer_id for one in made.listed] == ["c0", "c1", "c4", "c5"]
    assert made.left_out == {"cap": 4}


def test_less_likely_customers_are_left_out_and_the_rest_is_summed():
    made = offered(Rules(Budget(10), least_probability=0.5), [0.9, 0.6, 0.4])
    assert expected(made.listed) == pytest.approx(1.5)
    assert made.left_out == {"below_probability": 1}


def test_the_same_person_is_offered_once():
    made = Selection(Rules(Budget(10)))
    for row in (0, 7):
        made.offer(Member(row, "one", 0.5), {})
    assert len(made.listed) == 1
