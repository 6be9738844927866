"""What may be tuned: every row names a real setting, and a part is what one trial changes."""

import pytest
from pydantic import BaseModel

from models.catalogue import SOURCES
from models.config import DEFAULT_SCENES, PipelineConfig, validated_pipeline_config
from models.rank.ranker import RankerConfig
from training.tuning_space import SETTINGS, search_parts, with_values

STANDARD = PipelineConfig()
ONE_SOURCE = {"scenes": {"again": {"sources": {"repeat": 1.0}}}}


def standard_values(setting):
    """What is set by default, once or in every scene."""
    section, *names = setting.path
    if section == "scenes":
        if names[1] == "rank_offset":
            return [scene.rank_offset for scene in DEFAULT_SCENES.values()]
        return [weight for scene in DEFAULT_SCENES.values() for weight in scene.sources.values()]
    model: BaseModel = RankerConfig() if section == "ranker" else SOURCES[names[0]].config()
    return [getattr(model, names[-1])]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_exists_and_its_range_holds_the_default(setting):
    for value in standard_values(setting):
        assert setting.low <= value <= setting.high
        assert isinstance(value, int) == (setting.kind == "int")
    assert setting.low > 0 or not setting.log


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_both_ends_of_each_range_are_allowed(setting):
    path = tuple(
        {0: "home", 1: "popular"}[setting.path[:n].count("*")] if p == "*" else p for n, p in enumerate(setting.path)
    )
    for value in (setting.low, setting.high):
        with_values(STANDARD, {path: setting.rounded(value)})


def test_a_blend_is_searched_only_where_no_ranker_orders():
    learned = {part.name for part in search_parts(STANDARD, ("home", "discover"), ("discover",))}
    assert {"scenes.home", "ranker", "sources.als", "sources.userknn"} <= learned
    assert "scenes.discover" not in learned
    blended = {part.name for part in search_parts(STANDARD, ("home", "discover"), ())}
    assert "scenes.discover" in blended
    assert "ranker" not in blended


def test_the_heaviest_source_of_a_scene_stands_still():
    (blend,) = (part for part in search_parts(STANDARD, ("home",), ()) if part.name == "scenes.home")
    names = {setting.name for setting in blend.settings}
    assert "scenes.home.sources.repeat" not in names
    assert {"scenes.home.sources.als", "scenes.home.rank_offset"} <= names


def test_a_single_source_has_no_blend_to_search():
    config = validated_pipeline_config(ONE_SOURCE, "test")
    assert [part.name for part in search_parts(config, ("again",), ())] == ["sources.repeat"]


def test_a_range_reaches_what_the_shop_has_set():
    config = validated_pipeline_config(ONE_SOURCE | {"sources": {"repeat": {"half_life_days": 2000}}}, "test")
    (part,) = search_parts(config, ("again",), ())
    reached = {setting.name: setting.high for setting in part.settings}
    assert reached["sources.repeat.half_life_days"] == 2000


def test_values_replace_settings_and_leave_the_others():
    config = with_values(
        STANDARD, {("sources", "als", "dim"): 32, ("scenes", "home", "sources", "als"): 0.7, ("ranker", "n_trees"): 9}
    )
    assert config.source("als").model_dump() == STANDARD.source("als").model_dump() | {"dim": 32}
    assert config.all_scenes["home"].sources == DEFAULT_SCENES["home"].sources | {"als": 0.7}
    assert config.all_scenes["home"].rank_offset == DEFAULT_SCENES["home"].rank_offset
    assert config.ranker == RankerConfig(n_trees=9)
    assert with_values(STANDARD, {}).digest == STANDARD.digest
