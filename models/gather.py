"""Gathering: every source of a recipe asked once; used by the pipeline and by the training of rankers alike."""

from collections.abc import Mapping

from models.config import SceneConfig
from models.errors import CannotServe
from models.query import Candidates, Query
from models.seams import CandidateSource


def gather_candidates(
    sources: Mapping[str, CandidateSource], recipe: SceneConfig, query: Query
) -> tuple[dict[str, Candidates], list[str]]:
    """Return each source's candidates, and a word on every source that is missing or cannot serve."""
    found: dict[str, Candidates] = {}
    degraded: list[str] = []
    for name in recipe.sources:
        source = sources.get(name)
        if source is None:
            degraded.append(f"{name}: not in this release")
            continue
        try:
            found[name] = source.candidates(query, recipe.candidates)
        except CannotServe as error:
            degraded.append(str(error))
    return found, degraded
