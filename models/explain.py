"""From a pick to its reason: which words fit the stage that chose it, or what raised its score most.

A word is only said when it is true of this customer and this item: a cause without a true word gives way to the next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, isnan, log
from typing import Final, cast

from features.clock import days_before
from features.columns import EventKind
from models.habits import is_habit
from models.items import ItemTable
from models.query import Query
from models.rank.attribution import Grounds
from models.reasons import Days, Reason, reason
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

_OF_ITEM: Final = {"content_based": "similar_to", "own_kinds": "similar_to", "completion": "goes_with"}


def explained(source: CandidateSource, stage: str, query: Query, item_idx: int, items: ItemTable) -> Reason:
    """Return why `source` chose an item for this query."""
    bought = query.history.at[(query.history.item_idx == item_idx) & (query.history.kind == EventKind.purchase)]
    if len(bought) and not len(query.seeds) and stage not in ("popular", "newest"):
        days = Days(int(days_before(bought[-1:], query.moment)[0]))
        if days == 0:
            return reason("bought_today")
        return (
            reason("bought_before", n=len(bought), days=days) if len(bought) > 1 else reason("bought_once", days=days)
        )
    return _of_source(source, stage, query, item_idx, items) or _plain(_PLAIN.get(stage, "similar"), query)


def as_fallback(name: str, query: Query) -> Reason:
    """Return why an item fills a list that stayed short."""
    return _plain("fallback_popular" if name == "popular" else "fallback_any", query)


def _plain(code: str, query: Query) -> Reason:
    """Return a reason without facts; what was popular when the models learned may not be so right now."""
    is_old = code.endswith("popular") and query.learned_days_ago > FRESH_DAYS
    return reason(f"{code}_before" if is_old else code)


def _of_source(source: CandidateSource, stage: str, query: Query, item_idx: int, items: ItemTable) -> Reason | None:
    """Name the item that led to this one, where the source can."""
    if not _explains(type(source)):
        return None
    origin = cast("Explaining", source).because(query, item_idx)
    if origin < 0 or not items.titles[origin]:
        return None
    code = {"content_based": "similar_to", "own_kinds": "similar_to", "completion": "goes_with"}.get(
        stage, "because_of"
    )
    return reason(code, title=items.titles[origin])


@lru_cache(maxsize=64)
def _explains(kind: type) -> bool:
    # Asking a runtime protocol costs more than the rest of a reason; the answer belongs to the class.
    return issubclass(kind, Explaining)


DUE: Final = (0.75, 1.5)  # of the usual gap: from here on an item is due, and from there on overdue
RISE: Final = 1.2  # this week's share of the sales over the month's
MANY_REBUY: Final = 0.3
LEAST_BUYERS: Final = 10  # a share of fewer is chance
LIKE_PRICE: Final = 0.2  # of the customer's usual price, either way
HABIT_LATELY: Final = 0.2  # of the customer's purchases, the later counting more: a habit he has left is none
FRESH_DAYS: Final = 7  # what models learned this long ago is no longer how things are right now
WEEK_KNOWN_DAYS: Final = 3  # a week of which the models have seen less than half is not told of
LESS: Final = 0.05  # of a price that makes a promotion worth a word
FOND: Final = 0.2  # log of how much more customers like this one buy it


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the words of one pick may draw on."""

    query: Query
    item_idx: int
    items: ItemTable
    sources: Mapping[str, CandidateSource]
    known: Mapping[str, float]

    def at(self, feature: str) -> float:
        """Return a feature, NaN where nothing is known of it."""
        return self.known.get(feature, float("nan"))


def explained_by_grounds(
    grounds: Grounds, sources: Mapping[str, CandidateSource], query: Query, item_idx: int, items: ItemTable
) -> Reason | None:
    """Return the words of the strongest cause that has true ones; None when none has."""
    asked = _Asked(query, item_idx, items, sources, grounds.known)
    for cause in grounds.causes:
        said = _SAID[cause](asked) if cause in _SAID else _of_ranked_source(asked, cause)
        if said is not None:
            return said
    return None


def _of_ranked_source(asked: _Asked, name: str) -> Reason | None:
    source = asked.sources.get(name)
    if source is None:
        return None
    if asked.at("count") > 0:
        return _habit(asked)  # whoever else wants it too: what he himself bought is told first
    said = _of_source(source, name, asked.query, asked.item_idx, asked.items)
    return said or (reason("like_you") if _PLAIN.get(name) in ("like_you", "next_basket") else None)


def _rhythm(asked: _Asked) -> Reason | None:
    waited, own, usual = asked.at("days_since"), asked.at("gap_days"), exp(asked.at("item_gap_days"))
    if own >= 1:  # NaN is not
        gap, days = Days(round(own)), Days(waited)
        if waited > DUE[1] * own:
            return reason("overdue", gap=gap, days=days)
        return reason("due", gap=gap) if waited >= DUE[0] * own else None
    if asked.at("count") == 1 and DUE[0] * usual <= waited <= DUE[1] * usual:
        return reason("due_for_most", gap=Days(max(round(usual), 1)), days=Days(waited))
    return None


def _habit(asked: _Asked) -> Reason | None:
    lately, of = asked.at("in_last_10"), min(asked.at("customer_n_baskets"), 10)
    if not lately > 1:
        return _lately(asked)
    gap, waited = asked.at("gap_days"), asked.at("days_since")
    if gap >= 1 and DUE[0] * gap <= waited <= DUE[1] * gap:
        return reason("often_and_due", n=int(lately), of=int(of), gap=Days(round(gap)))
    return reason("bought_often", n=int(lately), of=int(of))


def _lately(asked: _Asked) -> Reason | None:
    count, waited = asked.at("count"), asked.at("days_since")
    if not count > 0:
        return None
    if waited == 0:
        return reason("bought_today")
    days = Days(waited)
    return reason("bought_before", n=int(count), days=days) if count > 1 else reason("bought_once", days=days)


def _category(asked: _Asked) -> Reason | None:
    if not asked.at("category_share") >= HABIT_LATELY or not _is_habit(asked, asked.items.path):
        return None
    return reason("category_habit", category=asked.items.path(asked.item_idx).rsplit("/", 1)[-1])


def _is_habit(asked: _Asked, kind_of: Callable[[int], str]) -> bool:
    return is_habit(asked.query.history, kind_of, kind_of(asked.item_idx))


def _trend(asked: _Asked) -> Reason | None:
    week, month = asked.at("popular_7d"), asked.at("popular_28d")
    if not (month > 0 and week > RISE * month) or asked.query.learned_days_ago > WEEK_KNOWN_DAYS:
        return None
    return reason("trending", percent=round(100 * (week / month - 1)))


def _rebought(asked: _Asked) -> Reason | None:
    buyers, again = asked.at("buyers"), asked.at("rebuyers")
    if not (buyers >= LEAST_BUYERS and again >= MANY_REBUY * buyers):  # NaN is neither
        return None
    return reason("rebought", percent=round(100 * again / buyers))


def _price(asked: _Asked) -> Reason | None:
    return reason("price_level") if abs(asked.at("price_to_usual")) <= log(1 + LIKE_PRICE) else None


def _brand(asked: _Asked) -> Reason | None:
    if not asked.at("brand_share") >= HABIT_LATELY or not _is_habit(asked, asked.items.brands.__getitem__):
        return None
    return reason("brand_habit", brand=asked.items.brands[asked.item_idx])


def _promotion(asked: _Asked) -> Reason | None:
    below, spared = 1.0 - exp(asked.at("price_lately")), asked.at("member_discount")
    # What was lately when the release was made is not for ever: something of it must have been sold this week.
    if below >= LESS and asked.at("popular_7d") > 0:  # NaN is neither
        return reason("price_down", percent=round(100 * below))
    return reason("member_price", percent=round(100 * spared)) if spared >= LESS else None


def _people(asked: _Asked) -> Reason | None:
    return reason("like_members") if asked.at("attribute_lift") >= FOND and not asked.at("count") > 0 else None


def _popular(asked: _Asked) -> Reason | None:
    share = asked.at("popular_28d")
    return None if isnan(share) or share <= 0 or asked.at("count") > 0 else _plain("popular", asked.query)


_SAID: Final[Mapping[str, Callable[[_Asked], Reason | None]]] = {
    "rhythm": _rhythm, "lately": _lately, "habit": _habit, "category": _category, "trend": _trend,
    "rebought": _rebought, "price": _price, "popular": _popular, "brand": _brand, "promotion": _promotion,
    "people": _people,
}  # fmt: skip
