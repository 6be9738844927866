"""From a pick to its reason: which words fit the stage that chose it."""

from functools import lru_cache
from typing import Final, cast

from features.columns import EventKind
from features.history import DAY_US
from models.items import ItemTable
from models.query import Query
from models.reasons import Reason, reason
from models.seams import CandidateSource, Explaining

_PLAIN: Final = {
    "popular": "popular",
    "newest": "new",
    "als": "like_you",
    "hybrid": "like_you",
    "userknn": "like_you",
    "gf_cf": "like_you",
    "next_basket": "next_basket",
}


def explained(source: CandidateSource, stage: str, query: Query, item_idx: int, items: ItemTable) -> Reason:
    """Return why `source` chose an item for this query."""
    bought = query.history.at[(query.history.item_idx == item_idx) & (query.history.kind == EventKind.purchase)]
    if len(bought) and not len(query.seeds) and stage not in ("popular", "newest"):
        days = max(0, (query.at - int(bought[-1])) // DAY_US)
        if days == 0:
            return reason("bought_today")
        return (
            reason("bought_before", n=len(bought), days=days) if len(bought) > 1 else reason("bought_once", days=days)
        )
    if _explains(type(source)):
        origin = cast("Explaining", source).because(query, item_idx)
        if origin >= 0 and items.titles[origin]:
            return reason("similar_to" if stage == "content_based" else "because_of", title=items.titles[origin])
    return reason(_PLAIN.get(stage, "similar"))


@lru_cache(maxsize=64)
def _explains(kind: type) -> bool:
    # Asking a runtime protocol costs more than the rest of a reason; the answer belongs to the class.
    return issubclass(kind, Explaining)
