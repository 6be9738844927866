"""What is asked and what is served, the same for every kind of item: requests, picks, slates (DESIGN §4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from features.arrays import Int32s
from features.columns import ItemKind
from models.bundles.wishes import BundleDetails, BundleWishes
from models.config import SceneConfig
from models.contents.wishes import ContentWishes
from models.query import NO_ITEMS, Query
from models.reasons import Reason
from models.steering import NO_STEERING, Steering

NO_CONTENT_WISHES: Final = ContentWishes()
NO_BUNDLE_WISHES: Final = BundleWishes()


@dataclass(frozen=True, slots=True)
class Filters:
    """What the caller will accept; empty means everything."""

    category: str = ""
    brands: tuple[str, ...] = ()
    price_min: float | None = None
    price_max: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request, in dense indexes.

    `basket` and `exclude` are never shown; `pins` come first, in order, when they may be shown; `recipe` replaces the
    scene's own (an experiment's variant); `explore_seed` draws the last places by chance. `basket` and the query's
    seeds are products; `exclude`, `pins` and `steering` (the operators' rules at work) speak of items of the kind that
    the scene shows, `part_steering` of products as parts of bundles. `content` and `bundle` are wishes that only those
    kinds read. `mix` are the shares of the kinds in a mixed slate (empty: the recipe's), `exclude_others` what of the
    kinds beside the scene's own is never shown.
    """

    query: Query
    scene: str
    k: int
    basket: Int32s = field(default_factory=lambda: NO_ITEMS)
    exclude: Int32s = field(default_factory=lambda: NO_ITEMS)
    pins: Int32s = field(default_factory=lambda: NO_ITEMS)
    filters: Filters = Filters()
    recipe: SceneConfig | None = None
    explore_seed: int | None = None
    steering: Steering = NO_STEERING
    part_steering: Steering = NO_STEERING
    mix: Mapping[ItemKind, float] = field(default_factory=dict)
    exclude_others: Mapping[ItemKind, Int32s] = field(default_factory=dict)
    content: ContentWishes = NO_CONTENT_WISHES
    bundle: BundleWishes = NO_BUNDLE_WISHES


@dataclass(frozen=True, slots=True)
class Pick:
    """One place of a slate: the item, its score, which stage chose it, why, and with which probability.

    Attributes
    ----------
    item_idx : int
        In the index of its kind; -1 for a bundle that was put together for this answer.
    item_id : str
        The external id where the index has none for it; else empty.
    bundle : BundleDetails or None
        What a bundle is made of and costs; None for other kinds.
    """

    item_idx: int
    score: float
    stage: str
    reason: Reason
    propensity: float = 1.0
    kind: ItemKind = ItemKind.product
    item_id: str = ""
    bundle: BundleDetails | None = None


@dataclass(frozen=True, slots=True)
class Slate:
    """What is served: at most k picks, and what went less well than it should have (empty when nothing did).

    `causes` says the same without what differs from answer to answer, for counting; `rules` are the ids of the rules
    that spoke of it.
    """

    picks: tuple[Pick, ...]
    degraded: tuple[str, ...]
    causes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def steered(request: Request, order: Int32s) -> Int32s:
    """Return items that may be shown, best first, with those that rules weigh moved and those that are pinned in front.

    For shelves without scores of their own; what is pinned and not among `order` may not be shown and stays away.
    """
    places = np.arange(len(order), 0, -1).astype(np.float32)
    moved = order[np.argsort(-request.steering.weighed(order, places), kind="stable")]
    pins = request.pins[np.isin(request.pins, order)]
    return np.concatenate([pins, moved[~np.isin(moved, pins)]]).astype(np.int32)
