"""Gathering: who proposes, and how deep each source is asked."""

import numpy as np
import pytest
from pydantic import ValidationError

from features.errors import ContractError
from models.catalogue import SOURCES
from models.config import SceneConfig, validated_pipeline_config
from models.gather import ask_scorers, candidates_of, gather_candidates
from tests.worlds import query, two_tastes

WORLD = two_tastes()


def test_a_source_is_asked_deeper_than_it_proposes():
    entry = SOURCES["popular"]
    source = entry.fit(WORLD, entry.config(), np.random.default_rng(0))
    recipe = SceneConfig(sources={"popular": 1.0}, candidates=2, depth=3)
    found, degraded = gather_candidates({"popular": source}, recipe, query(WORLD, "tea-3"))
    proposed = candidates_of(found, recipe)["popular"]
    assert not degraded
    assert len(found["popular"]) == 6
    assert proposed.item_idx.tolist() == found["popular"].item_idx[:2].tolist()
    assert proposed.score.tolist() == found["popular"].score[:2].tolist()


def fitted(*names):
    return {n: SOURCES[n].fit(WORLD, SOURCES[n].config(), np.random.default_rng(0)) for n in names}


def test_among_one_sources_finds_the_others_propose_nothing_and_order_what_they_can():
    sources = fitted("own_kinds", "newest")
    recipe = SceneConfig(sources={"own_kinds": 1.0, "newest": 0.1}, among="newest", candidates=4)
    asked = query(WORLD, "tea-3")
    found, degraded = gather_candidates(sources, recipe, asked)
    late = sources["newest"].candidates(asked, 4).item_idx
    assert not degraded
    assert found["newest"].item_idx.tolist() == late.tolist()
    assert set(found["own_kinds"].item_idx.tolist()) <= set(late.tolist())
    scored = sources["own_kinds"].score(asked, found["own_kinds"].item_idx)
    assert found["own_kinds"].score.tolist() == scored.tolist() == sorted(scored.tolist(), reverse=True)
    stranger, _ = gather_candidates(sources, recipe, query(WORLD))
    assert len(stranger["own_kinds"]) == 0
    assert stranger["newest"].item_idx.tolist() == late.tolist()


def test_without_the_source_that_finds_nothing_is_found():
    recipe = SceneConfig(sources={"own_kinds": 1.0, "newest": 0.1}, among="newest")
    found, degraded = gather_candidates(fitted("own_kinds"), recipe, query(WORLD, "tea-3"))
    assert degraded == ["newest: not in this release"]
    assert len(found["own_kinds"]) == 0


def test_among_names_a_source_of_the_scene():
    with pytest.raises(ValidationError, match="'als' is none of the scene's sources"):
        SceneConfig(sources={"newest": 1.0}, among="als")


def test_scorers_order_what_others_found_and_propose_nothing():
    sources = fitted("popular", "own_kinds")
    recipe = SceneConfig(sources={"popular": 1.0}, scorers=("own_kinds", "popular", "content_based"))
    asked = query(WORLD, "tea-3")
    found, degraded = gather_candidates(sources, recipe, asked)
    items = found["popular"].item_idx
    heard, silent = ask_scorers(sources, recipe, asked, items)
    assert (list(found), degraded) == (["popular"], [])
    assert (list(heard), silent) == (["own_kinds"], ["content_based: not in this release"])
    assert recipe.heard == ("popular", "own_kinds", "content_based")
    scored = sources["own_kinds"].score(asked, heard["own_kinds"].item_idx)
    assert set(heard["own_kinds"].item_idx.tolist()) <= set(items.tolist())
    assert heard["own_kinds"].score.tolist() == scored.tolist() == sorted(scored.tolist(), reverse=True)


def test_an_aspect_is_heard_as_its_source_says_it():
    sources = fitted("itemknn")
    recipe = SceneConfig(sources={"itemknn": 1.0}, scorers=("itemknn.nearest", "popular.nearest"))
    asked = query(WORLD, "tea-3")
    items = sources["itemknn"].candidates(asked, 5).item_idx
    heard, silent = ask_scorers(sources, recipe, asked, items)
    said = sources["itemknn"].aspect("nearest", asked, heard["itemknn.nearest"].item_idx)
    assert heard["itemknn.nearest"].score.tolist() == said.tolist()
    assert (list(heard), silent) == (["itemknn.nearest"], ["popular.nearest: not in this release"])
    assert recipe.heard_sources == ("itemknn", "popular")


def test_an_aspect_that_its_source_does_not_have_is_refused():
    with pytest.raises(ContractError, match=r"there is no 'als\.nearest'; aspects of als: none"):
        validated_pipeline_config({"scenes": {"discover": {"scorers": ["als.nearest"]}}}, "pond.toml")


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_is_a_number_from_zero_on(weight):
    with pytest.raises(ValidationError):
        SceneConfig(sources={"popular": weight})


def test_a_ranker_is_that_of_a_scene():
    with pytest.raises(ContractError, match="no scene 'nope'"):
        validated_pipeline_config({"scenes": {"home": {"ranker": "nope"}}}, "pond.toml")
