"""Weights of a blend learned from answered questions, and when the standard ones stay."""

import pytest

from models.config import DEFAULT_SCENES, SceneConfig, validated_pipeline_config
from models.slate import Request
from tests import worlds
from training.blends import learn_blend
from training.fit import fit_models, fit_sources
from training.settings import TrainingSettings
from training.split import split_all

SETTINGS = TrainingSettings(protocol="time_split", horizon_days=14)
PAIR = SceneConfig(sources={"repeat": 1.0, "popular": 0.01}, rank_offset=5.0)
CONFIG = validated_pipeline_config({"scenes": {"pair": PAIR.model_dump()}}, "test")


def rows(n_customers, *, loyal):
    """Everybody buys something every week: loyal ones the same again, the others never; all buy the hits once."""
    made = []
    for who in range(n_customers):
        for week in range(10):
            step = 0 if loyal else week
            made += [(f"c{who:03d}", f"i{(who * 7 + n * 31 + step * 13) % 150}", 7 * week + who % 3) for n in range(3)]
        made += [(f"c{who:03d}", f"hit{n}", 7 * (7 + who % 3) + 3) for n in range(4)]
    return made


def learned(n_customers, *, loyal):
    dataset = worlds.world(rows(n_customers, loyal=loyal), as_of=70)
    split = split_all(dataset, SETTINGS)
    return learn_blend(fit_sources(split.known, CONFIG, only=PAIR.sources), split, "pair", lambda _: None)


def test_weights_move_to_the_source_that_was_right():
    blend, said = learned(220, loyal=False)
    weights = blend.weights
    assert weights["popular"] / weights.get("repeat", 1e-9) > 0.01
    assert said.startswith("learned weights: NDCG@10 +")


def test_weights_that_are_right_stay():
    blend, said = learned(220, loyal=True)
    assert blend is None
    assert said.startswith("standard weights: the best of")


def test_few_questions_teach_no_weights():
    blend, said = learned(40, loyal=False)
    assert blend is None
    assert "fewer than 100" in said


@pytest.fixture(scope="module")
def dataset():
    return worlds.world(rows(220, loyal=False), as_of=70)


def test_a_scene_serves_with_what_was_learned(dataset):
    config = validated_pipeline_config({"ranker": {"least_questions": 10**6}}, "test")
    fitted = fit_models(dataset, config, SETTINGS)
    models = fitted.models
    assert set(models.blends) <= {"home", "next_basket", "discover", "rebuy"}
    assert "home" in models.blends, fitted.notes
    assert models.pipeline.scenes["home"].sources == models.blends["home"].weights
    assert fitted.notes["home"].startswith("learned weights")
    assert models.pipeline.recommend(Request(models.query(0, dataset.as_of), "home", 3), models.items).picks


def test_weights_of_the_shop_are_never_learned_over(dataset):
    mine = dict(DEFAULT_SCENES["home"].sources, popular=0.051)
    given = {"ranker": {"least_questions": 10**6}, "scenes": {"home": {"sources": mine}}}
    fitted = fit_models(dataset, validated_pipeline_config(given, "test"), SETTINGS)
    assert "home" not in fitted.models.blends
    assert fitted.models.pipeline.scenes["home"].sources == mine


def test_learning_can_be_switched_off(dataset):
    off = SETTINGS.model_copy(update={"learn_blends": False})
    assert not fit_models(dataset, CONFIG, off).models.blends
