"""Gathering: every source of a recipe asked once; used by the pipeline and by the training of rankers alike.

The best of each source are the candidates. Where a ranker orders them, each source is asked deeper, so that it has its
say on what the others found. A recipe may keep to the finds of one source (`among`): the others then only order those.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np

from features.arrays import Int32s
from models.config import SceneConfig
from models.errors import CannotServe
from models.query import NOTHING, Candidates, Query, top_candidates
from models.seams import CandidateSource, ManySided


def gather_candidates(
    sources: Mapping[str, CandidateSource], recipe: SceneConfig, query: Query
) -> tuple[dict[str, Candidates], list[str]]:
    """Return what each source found, and a word on every source that is missing or cannot serve.

    The lists are `recipe.candidates` × `recipe.depth` long at most: `candidates_of` takes their heads.
    """
    found: dict[str, Candidates] = {}
    degraded: list[str] = []
    for name in sorted(recipe.sources, key=lambda name: name != recipe.among):
        source = sources.get(name)
        if source is None:
            degraded.append(f"{name}: not in this release")
            continue
        try:
            if recipe.among in ("", name):
                found[name] = source.candidates(query, recipe.candidates * recipe.depth)
            else:
                found[name] = ordered(source, query, found.get(recipe.among, NOTHING).item_idx)
        except CannotServe as error:
            degraded.append(str(error))
    return found, degraded


def ordered(source: CandidateSource, query: Query, item_idx: Int32s, aspect: str = "") -> Candidates:
    """Let a source, or one aspect of it, order what was found elsewhere; what it cannot score it does not name."""
    score = cast("ManySided", source).aspect(aspect, query, item_idx) if aspect else source.score(query, item_idx)
    known = np.isfinite(score)
    return top_candidates(item_idx[known], score[known], len(item_idx))


def ask_scorers(
    sources: Mapping[str, CandidateSource], recipe: SceneConfig, query: Query, item_idx: Int32s
) -> tuple[dict[str, Candidates], list[str]]:
    """Return what the recipe's scorers think of some candidates, and a word on those that are missing or cannot."""
    heard: dict[str, Candidates] = {}
    degraded: list[str] = []
    for name in recipe.heard[len(recipe.sources) :]:
        source, aspect = sources.get(name.partition(".")[0]), name.partition(".")[2]
        if source is None:
            degraded.append(f"{name}: not in this release")
            continue
        try:
            heard[name] = ordered(source, query, item_idx, aspect)
        except CannotServe as error:
            degraded.append(str(error))
    return heard, degraded


def candidates_of(found: Mapping[str, Candidates], recipe: SceneConfig) -> dict[str, Candidates]:
    """Return the best `recipe.candidates` of each source."""
    n = recipe.candidates
    return {name: Candidates(each.item_idx[:n], each.score[:n]) for name, each in found.items()}
