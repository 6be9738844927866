"""One answer for a group: its members' lists, then the pipeline with the group's taste as its only source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.arrays import Float32s, Int32s
from features.history import EMPTY
from models.config import SceneConfig
from models.gather import candidates_of, gather_candidates
from models.groups.tastes import Tastes, fair_order
from models.items import ItemTable
from models.pipeline import Pipeline
from models.query import NOTHING, Candidates, Query, top_candidates
from models.rank.blend import blend_by_rank
from models.reasons import reason
from models.recommenders.evidence import score_of_listed
from models.slate import Pick, Request, Slate
from models.storefront import Storefront

GROUP: Final = "group"
DEPTH: Final = 100  # most products of a member's list
LEAST_DEPTH: Final = 10
LISTED: Final = 5  # one in so many of a small shop's products: what stands in every list says nothing of anybody
POOL_PER_PLACE: Final = 10
TENTH: Final = 10


@dataclass(frozen=True, eq=False, slots=True)
class GroupSource:
    """A group's products in their fair order, as a source of candidates; the same for every query."""

    order: Int32s

    def candidates(self, query: Query, limit: int) -> Candidates:  # noqa: ARG002 - the group is what is asked about
        """Return the first `limit` of them."""
        if not len(self.order):
            return NOTHING
        places = 1.0 - np.arange(len(self.order), dtype=np.float32) / len(self.order)
        return top_candidates(self.order, places.astype(np.float32), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Return 1 for the first, falling to 0 behind the last: float32 [n], NaN for what is not among them."""
        found = self.candidates(query, len(self.order))
        by_item = np.argsort(found.item_idx)
        return score_of_listed(item_idx, found.item_idx[by_item], found.score[by_item])


def depth_of(items: ItemTable) -> int:
    """Return how many products a member's list has at most."""
    return min(max(len(items) // LISTED, LEAST_DEPTH), DEPTH)


def member_list(pipeline: Pipeline, recipe: SceneConfig, query: Query, depth: int) -> Int32s:
    """Return what one member wants most by a scene's sources, best first: int32 [≤ depth].

    By the blend, not the learned ranker: a group of two hundred is two hundred questions.
    """
    asked = recipe.model_copy(update={"candidates": DEPTH, "depth": 1})
    found, _ = gather_candidates(pipeline.sources, asked, query)
    blend = blend_by_rank(candidates_of(found, asked), recipe.sources, recipe.rank_offset)
    ranked: Int32s = blend.item_idx[np.lexsort((blend.item_idx, -blend.score))]
    if recipe.repeat_policy != "allow":
        bought = np.isin(ranked, query.history.purchases.item_idx)
        ranked = ranked[bought if recipe.repeat_policy == "only" else ~bought]
    return ranked[:depth]


def recommend_to_group(
    front: Storefront, request: Request, lists: Sequence[Int32s], fairness: float
) -> tuple[Slate, float]:  # fmt: skip
    """Answer a request for a group from its members' lists: the slate, and the share of members who find theirs in it.

    Filters, pins, stock, diversity and fallbacks are the scene's own; the request's query is nobody's.
    """
    tastes = Tastes.of(lists, depth_of(front.items))
    shared = tastes.of_items(tastes.is_shared)
    shown = shared.of_items(front.items.showable(shared.item_idx, request.query.at))
    order = fair_order(shown, fairness, max(DEPTH, POOL_PER_PLACE * request.k))
    recipe = front.pipeline.scenes[request.scene]
    # What each member may be shown again was settled in his own list.
    update = {"sources": {GROUP: 1.0}, "scorers": (), "among": "", "ranker": "", "repeat_policy": "allow",
              "start_from": "history", "fallback": ("popular",), "candidates": max(len(order), 1)}  # fmt: skip
    pipeline = replace(front.pipeline, sources={**front.pipeline.sources, GROUP: GroupSource(order)})
    nobody = replace(request.query, customer_idx=-1, history=EMPTY)
    slate = pipeline.recommend(replace(request, query=nobody, recipe=recipe.model_copy(update=update)), front.items)
    picks = tuple(_told(pick, tastes) if pick.stage == GROUP else pick for pick in slate.picks)
    return replace(slate, picks=picks), tastes.covered(np.array([pick.item_idx for pick in picks], np.int32))


def _told(pick: Pick, tastes: Tastes) -> Pick:
    """Say for how many it is, in tens: an exact share would tell of single members when one comes or goes."""
    percent = max(TENTH, round(tastes.support_of(pick.item_idx) * 100 / TENTH) * TENTH)
    return replace(pick, reason=reason("group_shared", percent=percent))
