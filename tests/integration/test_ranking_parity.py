"""What the ranker sees of a customer and a moment is the same bits in training and in service."""

import asyncio
import json
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pytest

from features.columns import EventKind
from features.dataset import build_dataset
from features.item_facts import fit_item_facts
from models.config import validated_pipeline_config
from models.rank.ranker import RankerModel, feature_names
from models.release import Release
from service.command import Command
from service.control import ControlPlane
from service.decide import Decider
from service.from_lake import LakeWords
from service.observe import Metrics
from service.rulebooks import RuleBooks
from service.rules import RuleStore
from service.schemas import RecommendRequest
from service.serving_set import ServingSet, ServingSets
from service.spool import Spool
from service.tail import LiveEvent
from tests import serving, worlds
from tests.conformance.live_state import opened
from training.fit import fit_sources
from training.ranking import answered_questions, learn_rankers, ranking_rows
from training.settings import TrainingSettings
from training.split import split_all

SCENE = "next_basket"
CONFIG = validated_pipeline_config(
    {"ranker": {"least_questions": 5, "n_trees": 5, "min_rows_in_leaf": 2, "negatives": 100_000}}, "test"
)


@dataclass
class Watched:
    """A ranker whose questions are kept."""

    ranker: RankerModel
    seen: list = field(default_factory=list)

    def order(self, query, item_idx, found):
        ranked = self.ranker.order(query, item_idx, found)
        self.seen.append((query.at, ranked.matrix))
        return ranked


def events():
    """Weekly bread at an evening hour; other things in turn, some a little later; seen before they are bought."""
    rows = []
    for who in range(40):
        for week in range(10):
            at = 7 * week + who % 3 + 0.8
            rows += [(f"c{who}", "bread", at), (f"c{who}", f"other{(who + week) % 4}", at - 0.1, "view")]
            rows += [(f"c{who}", f"other{(who + week) % 4}", at + 0.01 * (week % 2))]
    priced = np.random.default_rng(0).uniform(1, 9, len(rows)).astype(np.float32).astype(np.float64)
    return worlds.events(rows).with_columns(pl.Series("price", priced))


@pytest.fixture(scope="module")
def toy():
    products = [
        {
            "product_id": f"other{i}", "category": f"a/{i % 2}", "brand": f"b{i % 2}", "title": f"green tea {i}",
            "price": 5.0, "member_price": 4.0,
        }
        for i in range(4)
    ]  # fmt: skip
    attributes = [json.dumps({"tier": "gold", "vip": who % 8 > 0}) for who in range(40)]
    customers = [{"customer_id": f"c{who}", "attributes": known} for who, known in enumerate(attributes)]
    frames = {
        "events": events(), "products": worlds.rows_of("products", products),
        "customers": worlds.rows_of("customers", customers),
    }  # fmt: skip
    return build_dataset(worlds.ToyTables(frames), "toy", worlds.TIMEZONE, worlds.day(70))


def live(row):
    return LiveEvent(
        row["event_id"], row["customer_id"], EventKind[row["kind"]], row["at"], item_id=row["item_id"],
        quantity=row["quantity"], price=row["price"],
    )  # fmt: skip


def test_training_and_service_see_the_same_bits(toy, tmp_path, state_server, state_settings):
    split = split_all(toy, TrainingSettings(protocol="time_split", horizon_days=14))
    models = fit_sources(split.known, CONFIG)
    facts = fit_item_facts(split.known)
    rows = ranking_rows(models, toy, split, SCENE, lambda _: None, facts)
    rankers, _ = learn_rankers({SCENE: rows}, facts, CONFIG)
    questions = list(answered_questions(toy, split, CONFIG.all_scenes[SCENE]))
    assert len(rows.sizes) == len(questions) > 10
    assert any(len(q.tail) for q in questions)
    heard = feature_names(CONFIG.all_scenes[SCENE].heard)
    for name in ("attribute_lift", "member_discount", "share_content_based", "share_own_kinds"):
        assert np.isfinite(rows.matrix[:, heard.index(name)]).mean() > 0.5

    shop = serving.open_toy_shop(tmp_path, "parity", redis_url=state_server.url)
    shop.publish(replace(models, rankers=rankers), "r1")
    release = shop.releases.load("r1")
    watched = Watched(release.models.rankers[SCENE])
    release = Release(release.directory, release.manifest, replace(release.models, rankers={SCENE: watched}))
    serving_set = ServingSet.of(shop.shop, release)
    after = events().filter(pl.col("at") >= split.known.as_of)

    async def story():
        start, now = 0, [0]
        async with opened(state_server, state_settings) as state:
            await state.open_shop(shop.shop.name)
            sets = ServingSets()
            sets.swap(serving_set)
            spool = Spool(tmp_path / "spool")
            control = ControlPlane.open(shop.settings)
            books = RuleBooks(RuleStore(control.engine))
            words = LakeWords(state)
            decider = Decider(sets, state, spool, shop.settings, Metrics(), lambda: now[0], words, books=books)
            for size, question in zip(rows.sizes, questions, strict=True):
                customer, now[0] = toy.customers.ids.text(question.customer_idx), question.at
                # What was acknowledged has happened: only what lies before the question may have been sent by then.
                sent = after.filter((pl.col("customer_id") == customer) & (pl.col("at") < question.at))
                await state.append_events(shop.shop.name, [live(r) for r in sent.iter_rows(named=True)], question.at)
                asked = RecommendRequest(customer_id=customer, scene=SCENE, k=3)
                await decider.decide(shop.shop.name, Command.of(asked))
                at, matrix = watched.seen.pop()
                assert at == question.at
                assert matrix.tobytes() == rows.matrix[start : start + size].tobytes()
                start += size
        assert start == len(rows.matrix)

    asyncio.run(story())
