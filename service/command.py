"""What is asked of the one flow of decisions, whichever route it came by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.bundles.wishes import BundleWishes
from models.contents.wishes import ContentWishes
from models.slate import NO_BUNDLE_WISHES, NO_CONTENT_WISHES, Filters
from service.bundle_schemas import BundlesRequest
from service.content_schemas import ContentRequest
from service.groups import GroupWishes
from service.schemas import RecommendRequest, SimilarRequest


@dataclass(frozen=True, slots=True)
class Command:
    """A request as the flow takes it; ids are the shop's, `wire` is what the log keeps of the request."""

    customer_id: str | None
    scene: str
    k: int
    filters: Filters
    exclude: tuple[str, ...]
    basket: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    channel: str = ""
    content: ContentWishes = NO_CONTENT_WISHES
    bundle: BundleWishes = NO_BUNDLE_WISHES
    mix: Mapping[str, float] = field(default_factory=dict)
    group: GroupWishes | None = None
    wire: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: RecommendRequest | SimilarRequest | ContentRequest | BundlesRequest) -> "Command":
        """Take a validated request."""
        if isinstance(asked, ContentRequest):
            return cls._of_contents(asked)
        if isinstance(asked, BundlesRequest):
            return cls._of_bundles(asked)
        rules = asked.filters
        filters = Filters(rules.category, tuple(rules.brands), rules.price_min, rules.price_max)
        wire, exclude = asked.model_dump(mode="json", exclude_defaults=True), tuple(asked.exclude)
        if isinstance(asked, SimilarRequest):
            seeds = tuple(asked.item_ids)
            return cls(asked.customer_id, "similar", asked.k, filters, exclude, seeds=seeds, wire=wire)
        return cls(
            asked.customer_id, asked.scene, asked.k, filters, exclude, tuple(asked.context.basket),
            tuple(asked.context.recent), tuple(asked.pins), channel=asked.context.channel or "", mix=asked.mix,
            bundle=BundleWishes(exclude=exclude), wire=wire,
        )  # fmt: skip

    @classmethod
    def _of_contents(cls, asked: ContentRequest) -> "Command":
        return cls(
            asked.customer_id, "content", asked.k, Filters(), tuple(asked.exclude), recent=tuple(asked.context.recent),
            pins=tuple(asked.pins), channel=asked.context.channel or "",
            content=ContentWishes(tuple(asked.forms), asked.again),
            wire=asked.model_dump(mode="json", exclude_defaults=True),
        )  # fmt: skip

    @classmethod
    def _of_bundles(cls, asked: BundlesRequest) -> "Command":
        rules, around, exclude = asked.filters, asked.around, tuple(asked.exclude)
        wishes = BundleWishes(
            tuple(around.item_ids), around.theme, exclude, asked.size_min, asked.size_max, asked.target_price,
            asked.spend_threshold, asked.discount, asked.margin_floor, generated="blend",
        )  # fmt: skip
        return cls(
            asked.customer_id, "bundles", asked.k,
            Filters(rules.category, tuple(rules.brands), rules.price_min, rules.price_max), exclude,
            tuple(around.basket or asked.context.basket), tuple(asked.context.recent), tuple(asked.pins),
            channel=asked.context.channel or "", bundle=wishes,
            wire=asked.model_dump(mode="json", exclude_defaults=True),
        )  # fmt: skip
