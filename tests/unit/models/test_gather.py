"""Gathering: who proposes, and how deep each source is asked."""

import numpy as np

from models.catalogue import SOURCES
from models.config import SceneConfig
from models.gather import candidates_of, gather_candidates
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
