"""Evaluation of models whose answers are known, on the toy shop of two tastes."""

import numpy as np
import pytest

from features.errors import UsageError
from models.catalogue import SOURCES
from models.config import validated_pipeline_config
from models.rng import derived_rng
from models.trained import Models
from tests import worlds
from training.baselines import FREQUENCY, POPULARITY
from training.evaluate import INCUMBENT, POND, evaluate
from training.questions import scene_questions
from training.settings import TrainingSettings
from training.split import split_dataset

TOLD = TrainingSettings(
    protocol="time_split", horizon_days=7, k=(2,), bootstrap_samples=100, workers=1, gate_scenes=("home",)
)


def shop():
    """Four customers buy their own item every week and, in the last one, also an item new to them."""
    rows = [(f"c{n}", f"own{n}", 7 * week + 1) for n in range(4) for week in range(5)]
    rows += [(f"c{n}", "novel", 30) for n in range(4)] + [("seller", "novel", 2), ("late", "own1", 30)]
    return worlds.world(rows, as_of=35)


def models_of(split, weights):
    config = validated_pipeline_config(
        {
            "scenes": {
                name: {"sources": weights, "category_decay": 1.0}
                for name in ("home", "next_basket", "discover", "rebuy")
            }
        },
        "test",
    )
    names = ("popular", "repeat")
    return Models.of(
        split.known, config, {n: SOURCES[n].fit(split.known, config.source(n), derived_rng(0, n)) for n in names}
    )


@pytest.fixture(scope="module")
def found():
    split = split_dataset(shop(), TOLD)
    systems = {POND: models_of(split, {"repeat": 1.0}), INCUMBENT: models_of(split, {"popular": 1.0})}
    return evaluate(split, systems, TOLD)


def test_each_scene_is_asked_what_it_is_for(found):
    scenes = found.report.scenes
    assert scenes["home"].n_customers == scenes["next_basket"].n_customers == 5
    assert scenes["rebuy"].n_customers == 4
    assert scenes["discover"].n_customers == 5
    assert scenes["rebuy"].metrics[POND]["recall@2"].mean == 1
    assert scenes["discover"].metrics[POND]["repeat_share@2"].mean == 0


def test_repeat_finds_what_is_bought_again_and_nothing_new_but_by_fallback(found):
    home = found.report.scenes["home"].metrics[POND]
    assert home["recall_repeat@2"].mean == 1
    assert home["recall_repeat@2"].n == 4


def test_slices_and_lengths_tell_strangers_from_regulars(found):
    home = found.report.scenes["home"]
    assert home.slice_sizes["cold"] == 1
    assert sum(home.slice_sizes.values()) == 5
    assert [(row.low, row.n) for row in home.by_length] == [(0, 1), (4, 4)]


def test_differences_are_paired_with_every_other_system(found):
    home = found.report.scenes["home"]
    assert set(home.differences) == {POPULARITY, FREQUENCY, INCUMBENT}
    values = found.values["home"]
    expected = float(np.mean(values[POND]["ndcg@2"] - values[INCUMBENT]["ndcg@2"]))
    assert home.differences[INCUMBENT]["ndcg@2"].mean == pytest.approx(expected)


def test_sources_are_credited(found):
    home = found.report.scenes["home"]
    assert set(home.stage_share) == {"repeat", "fallback:popular"}
    assert sum(home.stage_share.values()) == pytest.approx(1)
    assert 0 < home.reach.alone["repeat"] < 1
    assert max(home.reach.alone.values()) <= home.reach.together <= 1
    assert home.reach.added.keys() == home.reach.alone.keys()


def test_figures_are_flat(found):
    figures = found.report.figures()
    assert figures["home.recall@2"] == found.report.scenes["home"].metrics[POND]["recall@2"].mean
    assert "home.coverage@2" in figures


def test_scenes_that_start_from_items_cannot_be_judged_by_purchases():
    split = split_dataset(shop(), TOLD)
    recipe = validated_pipeline_config({}, "test").all_scenes["similar"]
    with pytest.raises(UsageError, match="similar"):
        scene_questions(split, "similar", recipe, 2)
