"""Profiles in toy worlds whose answers are known without a formula."""

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest

from features.arrays import AnyArray
from features.dataset import Dataset, build_dataset
from features.history import EMPTY
from features.trails import NO_TRAIL
from models.artifact import load_value, save_value
from models.forgetting import Gone
from models.lifecycle.config import LifecycleConfig
from models.lifecycle.life import About, Life, Lives
from models.lifecycle.model import LifecycleModel, fit_lifecycle
from models.lifecycle.profile import Profile, profiles_of
from models.lifecycle.rules import LAYER_RULES, LAYERS, STAGE_RULES, STAGES
from models.lifecycle.tags import TAG_RULES
from tests.worlds import SCHEMAS, START, TIMEZONE, ToyTables, day, rows_of, two_tastes

PRODUCTS = [
    {"product_id": "tea", "category": "drinks/tea", "brand": "leaf", "price": 10.0, "cost": 6.0},
    {"product_id": "rare-tea", "category": "drinks/tea", "brand": "leaf", "price": 40.0, "cost": 20.0},
    {"product_id": "soap", "category": "care/soap", "brand": "foam", "price": 5.0},
]  # fmt: skip


def world(rows, *, as_of: float, customers=(), products=PRODUCTS, **tables) -> Dataset:
    """Rows are (customer, item, day[, kind][, more columns]); prices are the products' unless told."""
    listed = {p["product_id"]: p.get("price") for p in products}
    made = []
    for n, (who, item, at, *rest) in enumerate(rows):
        kind = next((r for r in rest if isinstance(r, str)), "purchase")
        more = next((r for r in rest if isinstance(r, dict)), {})
        price = listed.get(item) if kind == "purchase" else None
        made.append(
            {"event_id": f"e{n:05d}", "customer_id": who, "kind": kind, "at": day(at), "item_kind": "product",
             "item_id": item, "quantity": 1.0, "price": price} | more
        )  # fmt: skip
    frames = {
        "events": pl.DataFrame(made, schema=SCHEMAS["events"]), "products": rows_of("products", products),
        "customers": rows_of("customers", customers),
    }  # fmt: skip
    return build_dataset(ToyTables(frames | tables), "toy", TIMEZONE, day(as_of))


def weekly(who: str, item: str = "tea", *, until: float, every: float = 7, since: float = 0, **more):
    """Somebody who buys every week."""
    return [(who, item, at + 0.5, more) for at in np.arange(since, until, every)]


def fitted(dataset: Dataset, **settings) -> LifecycleModel:
    return fit_lifecycle(dataset, {}, LifecycleConfig(**settings), np.random.default_rng(0))


def life(model: LifecycleModel, dataset: Dataset, who: str) -> Life:
    idx = dataset.customers.ids.idx(who)
    history = dataset.product_events.of(idx)
    row = dataset.customers.frame.row(idx, named=True) if idx >= 0 else None
    person = (idx,) if idx >= 0 else ()
    told = model.told_of(person, dataset.product_events)
    return Life(
        history, EMPTY, EMPTY, told, model.trail_of(person), About.of(row), model.n_invited(person, dataset.as_of)
    )


def profile(dataset: Dataset, who: str, model: LifecycleModel | None = None) -> Profile:
    model = model or fitted(dataset)
    return next(profiles_of(model, Lives.of([life(model, dataset, who)]), dataset.as_of))


SHOP = [row for n in range(12) for row in weekly(f"regular-{n}", until=300)]


def test_recency_frequency_and_spend_are_counted():
    rows = [*SHOP, ("ann", "tea", 260.5, {"quantity": 3.0}), ("ann", "soap", 260.5), ("ann", "rare-tea", 290.5),
            ("ann", "soap", 291.5, "refund", {"price": 5.0})]  # fmt: skip
    ann = profile(world(rows, as_of=300), "ann")
    assert (ann.purchase_days, ann.baskets, ann.lines, ann.recency_days, ann.age_days) == (2, 2, 3, 10, 40)
    assert ann.spend == pytest.approx(30 + 5 + 40 - 5)
    assert ann.margin == pytest.approx(3 * 4 + 20)  # of the soap no cost is known
    assert ann.margin_share == 1.0  # 70 of the 70 net
    assert not any("spend" in note for note in ann.notes)


def test_a_weekly_customer_is_expected_every_week():
    dataset = world(SHOP, as_of=300)
    one = profile(dataset, "regular-1")
    assert one.typical_gap_days == pytest.approx(7, rel=0.01)
    assert one.expected_90 == pytest.approx(90 / 7, rel=0.15)
    assert one.expected_30 == pytest.approx(one.expected_90 / 3, rel=0.05)
    assert one.expected_spend_90 == pytest.approx(10 * one.expected_90, rel=0.1)
    assert one.p_alive > 0.95


@pytest.mark.parametrize(
    ("rows", "stage"),
    [
        ([], "stranger"),
        ([("ann", "tea", 299, "impression")], "aware"),
        ([("ann", "tea", 299, "view")], "aware"),
        ([("ann", "tea", 299, "view"), ("ann", "soap", 299, "view"), ("ann", "soap", 299.5, "click")], "interested"),
        ([("ann", "tea", 299, "cart")], "interested"),
        ([("ann", "tea", 20, "cart")], "lost"),
        ([("ann", "tea", 299)], "buyer"),
        (weekly("ann", until=300), "loyal"),
        ([*weekly("ann", until=300), ("ann", "tea", 299, "share"), ("ann", "tea", 299, "review")], "advocate"),
        (weekly("ann", until=100), "lost"),
    ],
)
def test_the_stage_follows_what_the_customer_did(rows, stage: str):
    ann = profile(world([*SHOP, *rows], as_of=300), "ann")
    assert ann.stage == stage
    assert ann.stage_reason.zh
    assert ann.stage_reason.en
    assert "{" not in ann.stage_reason.zh + ann.stage_reason.en + ann.layer_reason.zh + ann.layer_reason.en


def test_between_active_and_lost_there_is_dormant():
    # In this shop some pauses are long: what is unusual is learned from it.
    rows = [row for n in range(40) for row in weekly(f"c{n}", until=300, every=7 if n % 4 else 5 + n)]
    rows += [(f"c{n}", "tea", 150 + 60 + 0.5) for n in range(3)]
    found = [profile(world([*rows, *weekly("ann", until=at)], as_of=300), "ann").stage for at in (299, 260, 100)]
    assert found[0] in ("buyer", "loyal")
    assert found[2] == "lost"
    order = ["buyer", "loyal", "dormant", "lost"]
    assert sorted(found, key=order.index) == found


def test_registered_customers_are_aware():
    dataset = world(SHOP, as_of=300, customers=[{"customer_id": "ann", "tags": ["VIP"], "advisor_id": "a1"}])
    ann = profile(dataset, "ann")
    assert (ann.stage, ann.about.tags, ann.about.advisor_id) == ("aware", ("VIP",), "a1")


def test_who_brings_another_customer_is_an_advocate():
    people = [{"customer_id": "bob", "inviter_id": "ann", "joined_at": day(200)}]
    dataset = world([*SHOP, ("ann", "tea", 299)], as_of=300, customers=people)
    ann = profile(dataset, "ann")
    assert (ann.stage, ann.n_invited) == ("advocate", 1)
    assert "inviter" in {tag.code for tag in ann.derived}
    early = replace(dataset, as_of=day(150))
    assert fitted(dataset).n_invited((dataset.customers.ids.idx("ann"),), early.as_of) == 0


def test_layers_follow_value_and_silence():
    rows = [*SHOP, *weekly("rich", "rare-tea", until=300), ("small", "soap", 298), *weekly("gone", until=90),
            ("curious", "tea", 299, "cart")]  # fmt: skip
    dataset = world(rows, as_of=300)
    model = fitted(dataset)
    layers = {who: profile(dataset, who, model).layer for who in ("rich", "small", "gone", "curious")}
    assert layers == {"rich": "high_value", "small": "ordinary", "gone": "sleeping", "curious": "potential"}


def test_favourites_are_what_the_customer_chooses_more_than_others():
    rows = [*SHOP, *weekly("ann", "soap", until=300), *weekly("ann", until=60)]
    ann = profile(world(rows, as_of=300), "ann")
    assert [taste.name for taste in ann.categories] == ["care/soap"]
    assert ann.categories[0].strength > 3
    assert 0.5 < ann.categories[0].share < 1
    assert [taste.name for taste in ann.brands] == ["foam"]
    # What everybody buys is nobody's favourite.
    assert profile(world(SHOP, as_of=300), "regular-1").categories == ()


def test_the_price_level_compares_with_the_same_category():
    rows = [*SHOP, *weekly("rich", "rare-tea", until=300), *weekly("ann", until=300)]
    dataset = world(rows, as_of=300)
    model = fitted(dataset)
    assert profile(dataset, "rich", model).price_level > 2.5
    assert profile(dataset, "ann", model).price_level == pytest.approx(0.9, abs=0.1)
    assert "premium" in {tag.code for tag in profile(dataset, "rich", model).derived}


def test_discounts_are_seen_by_price_by_member_price_and_by_what_the_shop_told():
    products = [{"product_id": "tea", "price": 10.0}, {"product_id": "jam", "price": 10.0, "member_price": 8.0}]
    rows = [(f"c{n}", item, at) for n in range(4) for item in ("tea", "jam") for at in range(10, 200, 20)]
    for who, more in (("low", {"price": 7.0}), ("told", {"props": '{"coupon":"x"}'}), ("full", {})):
        rows += [(who, "tea", at, more) for at in range(15, 200, 20)]
    rows += [("member", "jam", at, {"price": 8.0}) for at in range(15, 200, 20)]
    dataset = world(rows, as_of=200, products=products)
    model = fitted(dataset)
    share = {who: profile(dataset, who, model).discount_share for who in ("low", "told", "member", "full")}
    assert min(share["low"], share["told"], share["member"]) > 0.75
    assert share["full"] < 0.2
    assert "discount_seeker" in {tag.code for tag in profile(dataset, "told", model).derived}


def test_active_hours_are_local_and_an_hour_counts_once():
    # 2025-01-06 is a Monday in Shanghai, day 5; 20 h there is 12 h UTC.
    monday_20h = 5 + 20 / 24
    rows = [("ann", "tea", monday_20h + 7 * week, "view") for week in range(3)]
    rows += [("ann", "soap", monday_20h + 0.001, "view")] * 5
    rows += [("ann", "tea", 8 + 9 / 24, "view")]
    ann = profile(world(rows, as_of=60), "ann")
    assert ann.hours[0].hour == 20
    assert ann.hours[0].share == pytest.approx(3 / 4 / 2)
    abroad = world(rows, as_of=60, customers=[{"customer_id": "ann", "timezone": "Europe/London"}])
    assert profile(abroad, "ann").hours[0].hour == 12
    nowhere = world(rows, as_of=60, customers=[{"customer_id": "ann", "timezone": "Middle/Earth"}])
    assert profile(nowhere, "ann").hours[0].hour == 20


def test_channels_are_counted_by_hours_not_by_lines():
    rows = [("ann", "tea", 10, {"channel": "store"})] + [
        ("ann", item, 20, {"channel": "app"}) for item in ("tea", "soap")
    ]
    rows += [("ann", "tea", 30, {"channel": "app"})]
    ann = profile(world(rows, as_of=60), "ann")
    assert [(use.channel, round(use.share, 2)) for use in ann.channels] == [("app", 0.67), ("store", 0.33)]
    assert ann.channels[0].last_at == day(30)


def test_a_shop_without_prices_counts_value_in_purchases():
    products = [{"product_id": "tea"}]
    rows = [(f"c{n}", "tea", at) for n in range(6) for at in range(n, 200, 7 + n)]
    dataset = world(rows, as_of=200, products=products)
    model = fitted(dataset)
    assert model.thresholds.in_purchases
    one = profile(dataset, "c1", model)
    assert (one.spend, one.margin, one.expected_spend_90) == (None, None, None)
    assert any("spend is unknown" in note for note in one.notes)
    assert one.layer in LAYERS
    assert "purchases" in one.layer_reason.en


def test_a_tiny_shop_says_that_it_leans_on_standard_values():
    ann = profile(world([("ann", "tea", 1), ("ann", "tea", 20)], as_of=30), "ann")
    assert ann.stage == "buyer"
    assert len(ann.notes) == 2
    assert "standard values" in ann.notes[0]


@pytest.mark.parametrize("rows", [[], [("ann", "tea", 5)], [(f"c{n}", "tea", 5) for n in range(60)]])
def test_no_purchases_one_purchase_and_everything_at_one_moment_are_answered(rows):
    dataset = world(rows, as_of=6)
    for who in (*dataset.customers.ids.texts, "stranger"):
        found = profile(dataset, who)
        assert found.stage in ("stranger", "buyer")
        assert found.p_alive is None or 0 <= found.p_alive <= 1


def test_a_release_from_before_there_were_profiles_still_answers():
    model = LifecycleModel.empty()
    dataset = world([("ann", "tea", 1)], as_of=2)
    history = dataset.product_events.of(0)
    told = model.told_of((0,), dataset.product_events)
    found = next(profiles_of(model, Lives.of([Life(history, told=told)]), dataset.as_of))
    assert found.stage == "buyer"
    assert (model.trail_of((0,)), model.n_invited((0,), day(9))) == (NO_TRAIL, 0)


def test_many_customers_are_answered_as_each_alone_bit_for_bit():
    rows = [*SHOP, *weekly("ann", "soap", until=200, channel="app"), ("bob", "tea", 299, "cart"), ("cat", "soap", 10)]
    dataset = world(rows, as_of=300)
    model = fitted(dataset)
    lives = [life(model, dataset, who) for who in (*dataset.customers.ids.texts, "stranger")]
    together = list(profiles_of(model, Lives.of(lives), dataset.as_of))
    assert together == [next(profiles_of(model, Lives.of([one]), dataset.as_of)) for one in lives]
    assert list(profiles_of(model, Lives.of(lives[::-1]), dataset.as_of)) == together[::-1]


def test_what_happens_later_changes_nothing():
    early, late = world(SHOP, as_of=200), world([*SHOP, ("regular-1", "soap", 250)], as_of=300)
    model = fitted(early)
    before = life(model, early, "regular-1")
    cut = replace(life(fitted(late), late, "regular-1"))
    cut = replace(cut, products=cut.products.before(early.as_of), told=cut.told[: len(before.products)])
    assert list(profiles_of(model, Lives.of([before]), early.as_of)) == list(
        profiles_of(model, Lives.of([cut]), early.as_of)
    )


def arrays_of(value: object):
    for field in fields(value):  # type: ignore[arg-type]
        part = getattr(value, field.name)
        if isinstance(part, np.ndarray):
            yield field.name, part
        elif hasattr(part, "__dataclass_fields__"):
            yield from arrays_of(part)


def test_the_part_is_read_back_as_it_was_written(tmp_path):
    model = fitted(world([*SHOP, ("ann", "soap", 5, {"channel": "app"})], as_of=300))
    save_value(model, tmp_path / "part")
    again = load_value(LifecycleModel, tmp_path / "part")
    told: dict[str, AnyArray] = dict(arrays_of(model))
    for name, part in arrays_of(again):
        assert np.array_equal(part, told[name], equal_nan=part.dtype.kind == "f"), name
    assert (again.thresholds, again.rhythm, again.basket, again.config) == (
        model.thresholds, model.rhythm, model.basket, model.config,
    )  # fmt: skip
    assert again.trails.channels == model.trails.channels == ("app",)


def test_the_part_forgets_a_customer_and_keeps_the_others():
    people = [{"customer_id": "bob", "inviter_id": "ann", "joined_at": day(20)}]
    rows = [
        *SHOP,
        ("ann", "soap", 5, {"channel": "app", "props": '{"coupon":1}'}),
        ("zoe", "soap", 6, {"channel": "app"}),
    ]
    dataset = world(rows, as_of=300, customers=people)
    model = fitted(dataset)
    ann, zoe = (dataset.customers.ids.idx(who) for who in ("ann", "zoe"))
    after = model.without(Gone(np.array([ann], np.int32)))
    assert len(model.trail_of((ann,))) == 1
    assert after.trail_of((ann,)).at.tolist() == []
    assert after.n_invited((ann,), day(300)) == 0
    gone = dataset.product_events.where(dataset.product_events.customer_idx != ann)
    assert after.told_of((ann,), gone).tolist() == []
    assert after.told_of((zoe,), gone).tolist() == model.told_of((zoe,), dataset.product_events).tolist() == [False]
    assert after.trail_of((zoe,)).at.tolist() == model.trail_of((zoe,)).at.tolist()
    assert day(5) not in after.trails.at
    # A channel that only she came by would still tell of her; the others keep their names.
    alone = fitted(world([*rows, ("ann", "tea", 7, {"channel": "her-own"})], as_of=300, customers=people))
    assert alone.trails.channels == ("app", "her-own")
    assert alone.without(Gone(np.array([ann], np.int32))).trails.channels == ("app", "")


def test_ids_of_one_person_are_taken_together():
    rows = [*SHOP, ("ann", "soap", 5, {"props": '{"coupon":1}'}), ("ann-2", "soap", 4), ("ann-2", "tea", 6)]
    dataset = world(rows, as_of=300)
    model = fitted(dataset)
    person = tuple(dataset.customers.ids.idx(who) for who in ("ann", "ann-2"))
    assert model.told_of(person, dataset.product_events).tolist() == [False, True, False]


def test_every_stage_and_layer_has_a_rule_and_every_word_is_said_in_two_languages():
    assert {rule.gives for rule in STAGE_RULES} == set(STAGES)
    assert {rule.gives for rule in LAYER_RULES} == set(LAYERS)
    codes = [rule.code for rule in (*STAGE_RULES, *LAYER_RULES)]
    assert len(set(codes)) == len(codes)
    tags = [rule.tag for rule in TAG_RULES]
    assert len({tag.code for tag in tags}) == len(tags)
    assert all(tag.zh and tag.en and tag.rule_zh and tag.rule_en for tag in tags)


def test_a_dataset_without_trails_is_fitted_too():
    dataset = replace(two_tastes(), trails=None)
    model = fitted(dataset)
    found = profile(dataset, "tea-1", model)
    assert found.stage in STAGES
    assert found.channels == ()
    assert dataset.as_of > START
