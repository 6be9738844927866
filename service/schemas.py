"""What goes over the wire (DESIGN §8): requests and answers of `/v1`, every field described for OpenAPI.

Ids are any text of 1 to 256 characters without NUL. Moments are ISO 8601 texts (a naive one is read in the shop's time
zone) or epoch numbers in seconds, milliseconds or microseconds; answers give UTC ISO 8601.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)  # fmt: skip

from features.clock import EPOCH, microseconds
from features.columns import EVENT_KINDS, ITEM_KINDS
from features.ids import MAX_ID_CHARS

K_LIMIT: Final = 1_000
LIST_LIMIT: Final = 1_000
BATCH_LIMIT: Final = 1_000
EVENTS_LIMIT: Final = 10_000
MOST: Final = 1e12  # of a price, a quantity, a value: what a typing error gives does not reach the arrays
EARLIEST: Final = microseconds(datetime(1990, 1, 1, tzinfo=UTC))
LATEST: Final = microseconds(datetime(2200, 1, 1, tzinfo=UTC))


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


def _is_none(value: object) -> bool:
    return value is None


def _moment(value: object) -> object:
    """Read a moment as UTC µs, or as a naive datetime that the shop's time zone completes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be an ISO 8601 text or an epoch number")  # noqa: TRY004 - pydantic words ValueErrors
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise ValueError("is not an ISO 8601 moment such as 2025-03-01T09:30:00+08:00") from error
        return read if read.tzinfo is None else microseconds(read)
    if not abs(value) < LATEST:  # also infinity and NaN
        raise ValueError("lies outside 1990 to 2200; is the unit s, ms or µs?")
    # Seconds reach 10^11 in the year 5138, milliseconds of 1990 begin at 6·10^11: the units cannot be confused.
    unit = 1_000_000 if abs(value) < 1e11 else 1_000 if abs(value) < 1e14 else 1
    return round(value * unit)


def _sane_moment(value: int | datetime) -> int | datetime:
    at = microseconds(value.replace(tzinfo=UTC)) if isinstance(value, datetime) else value
    if not EARLIEST <= at < LATEST:
        raise ValueError("lies outside 1990 to 2200; is the unit s, ms or µs?")
    return value


Id: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS), AfterValidator(_without_nul)
]  # fmt: skip
Text: TypeAlias = Annotated[str, StringConstraints(max_length=100_000), AfterValidator(_without_nul)]
Moment: TypeAlias = Annotated[
    int | datetime,
    BeforeValidator(_moment),
    AfterValidator(_sane_moment),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}),
]
Amount: TypeAlias = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Positive: TypeAlias = Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)]
Number: TypeAlias = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]


def iso(at: int) -> str:
    """Return UTC µs as ISO 8601 with microseconds, exactly."""
    return (EPOCH.fromtimestamp(at // 1_000_000, UTC)).replace(microsecond=at % 1_000_000).isoformat()


class Wire(BaseModel):
    """Base of requests: unknown fields are refused, so that a misspelt one is not silently without effect."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Context(Wire):
    """Where the customer stands at this moment."""

    channel: Id | None = Field(None, description="Where the slate is shown: app, mini-program, wecom …")
    basket: list[Id] = Field(
        [], max_length=LIST_LIMIT, description="Product ids in the basket now; never shown again; `cart` starts here."
    )
    recent: list[Id] = Field(
        [], max_length=LIST_LIMIT,
        description="Product ids just looked at, oldest first, that were not sent as events; count as views. They tell "
        "of the customer, so they are left aside when personalization is off; `basket` is what is asked about.",
    )  # fmt: skip


class FilterRules(Wire):
    """What may be shown; every place of the slate obeys."""

    category: str = Field("", max_length=1_000, description="A category path `a/b`; what lies below it belongs to it.")
    brands: list[str] = Field([], max_length=LIST_LIMIT, description="Only these brands; empty: all.")
    price_min: Amount | None = Field(None, description="Least price; items without a price are not shown then.")
    price_max: Amount | None = Field(None, description="Greatest price; items without a price are not shown then.")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise ValueError("price_min is above price_max")
        return self


class Wanted(Wire):
    """What `recommend` and `similar` share."""

    k: int = Field(10, ge=1, le=K_LIMIT, description="Places wanted; the service's own limit may be lower.")
    filters: FilterRules = Field(FilterRules(), description="What the caller accepts.")
    exclude: list[Id] = Field([], max_length=LIST_LIMIT, description="Product ids never to be shown.")


class RecommendRequest(Wanted):
    """Who asks, in which scene, for how many."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"customer_id": "wx-7f3a", "scene": "home", "k": 10},
                {
                    "customer_id": "wx-7f3a", "scene": "cart", "k": 4,
                    "context": {"channel": "mini-program", "basket": ["p-102"]},
                    "filters": {"category": "drinks", "price_max": 60}, "exclude": ["p-17"], "pins": ["p-1"],
                },
            ]
        }
    )  # fmt: skip

    customer_id: Id = Field(description="The shop's id of the customer; unknown ids are strangers, not errors.")
    scene: Id = Field("home", description="A scene of the shop: home rebuy discover next_basket similar cart popular …")
    context: Context = Field(Context(), description="Channel, basket and what was just looked at.")
    pins: list[Id] = Field(
        [], max_length=LIST_LIMIT, description="Product ids that come first, in this order, where they may be shown."
    )
    mix: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {},
        json_schema_extra={"propertyNames": {"enum": list(ITEM_KINDS)}},
        description="Share of each item kind; what the release cannot serve is named in `degraded`.",
    )

    @model_validator(mode="after")
    def _mix_names_item_kinds(self) -> Self:
        for name in self.mix:
            if name not in ITEM_KINDS:
                raise ValueError(f"mix knows {', '.join(ITEM_KINDS)}")
        if self.mix and not any(self.mix.values()):
            raise ValueError("mix gives no kind a share above 0; leave it out for the scene's own")
        return self


class SimilarRequest(Wanted):
    """Products like the ones named."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item_ids": ["p-102"], "k": 6}, {"item_ids": ["p-1"], "customer_id": "wx-7"}]}
    )

    item_ids: list[Id] = Field(
        min_length=1, max_length=100, description="Product ids to start from; they are not shown."
    )
    customer_id: Id | None = Field(None, description="Who looks, for the log; the answer is the same for everybody.")


class ReasonOut(BaseModel):
    """Why an item is shown."""

    code: str = Field(description="Stable code to count by.")
    zh: str = Field(description="The reason in Chinese.")
    en: str = Field(description="The reason in English.")


class ContentOut(BaseModel):
    """What a content is, as the catalogue says."""

    form: str = Field(description="article, short_video, live, podcast …; empty when not said.")
    title: str = Field(description="Its title; empty when not said.")
    product_ids: list[str] = Field(description="Products it carries.")


class PartOut(BaseModel):
    """One product of a bundle."""

    item_id: str = Field(description="The shop's id of the product.")
    title: str = Field(description="Its title; empty where unknown.")
    price: float | None = Field(description="Its price alone.")
    role: str = Field(description="anchor, the role of the shop's rule, or its finest category; empty where unknown.")


class BundleOut(BaseModel):
    """What a bundle is made of and costs, in the shop's currency."""

    parts: list[PartOut] = Field(description="Its products; what it was asked around comes first.")
    price: float | None = Field(description="Of the whole; null where a part's price is unknown.")
    saving: float | None = Field(description="What the parts cost more when bought alone.")
    margin: float | None = Field(
        description="Share of the price above the parts' costs, null where one is unknown. The shop's secret: it is "
        "there for the shop's own servers; do not hand it on to customers."
    )
    evidence: dict[str, float] = Field(
        description="count: orders with the anchor and its strongest partner, of: orders with the anchor, share: count "
        "/ of, lift: times as often as by chance (shrunk), least_count and least_lift: of the weakest part; "
        "kinds_lift: of their categories, where too few orders hold both; of the shop's bundles sold: sales, later "
        "ones counting more, and parts_bought: how many of its parts this customer has bought."
    )


class ItemOut(BaseModel):
    """One place of a slate."""

    item_kind: str = Field(description="product, content or bundle.")
    item_id: str = Field(description="The shop's id of the item.")
    score: float = Field(description="Comparable within this answer only; 0 for pins and fallbacks.")
    reason: ReasonOut = Field(description="Why it is here.")
    stage: str = Field(description="What chose it: a source, pin, explore or fallback:<source>.")
    content: ContentOut | None = Field(
        None, exclude_if=_is_none, description="For contents: what it is; not there for other kinds."
    )
    bundle: BundleOut | None = Field(
        None, exclude_if=_is_none, description="For bundles: parts, price and evidence; not there for other kinds."
    )


class GroupOut(BaseModel):
    """What may be told of a group's members."""

    members_counted: int = Field(description="Members whose tastes decided; 0: too few, the list is not personal.")
    coverage: float = Field(description="Share of them who find something of theirs in the list.")


class RecommendAnswer(BaseModel):
    """A slate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "decision_id": "0197c1f0a3b24c5e9d1f7a60b2c3d4e5",
                    "items": [
                        {
                            "item_kind": "product", "item_id": "p-31", "score": 0.0912,
                            "reason": {
                                "code": "bought_before", "zh": "您买过 3 次,上次在 12 天前",
                                "en": "You bought this 3 times, last 12 days ago",
                            },
                            "stage": "repeat",
                        }
                    ],
                    "variants": {}, "degraded": [], "release": "20250301-a1b2c3",
                }
            ]
        }
    )  # fmt: skip

    decision_id: str = Field(description="Send it with the events that follow: what was shown explains what happened.")
    items: list[ItemOut] = Field(description="At most k items, best first; fewer only when no more may be shown.")
    variants: dict[str, str] = Field(description="Variant served by experiment; empty when none runs.")
    degraded: list[str] = Field(description="What went less well than it should, in words; empty when nothing did.")
    release: str = Field(description="The release that answered.")
    group: GroupOut | None = Field(None, description="For a group's list: what may be told of its members.")


class BatchRequest(Wire):
    """Many questions at once; each is answered as if it came alone."""

    queries: list[RecommendRequest] = Field(
        min_length=1, max_length=BATCH_LIMIT, description="Up to 1,000 questions, answered in this order."
    )


class Problem(BaseModel):
    """An error as `application/problem+json` (RFC 9457)."""

    type: str = Field(description="`urn:pond:problem:<code>`.")
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="Stable name to program against.")
    detail: str = Field(description="One sentence that says what to do.")
    request_id: str = Field("", description="Find the request in the logs by it.")
    retry_after: int = Field(0, description="Seconds to wait before the same request makes sense again; 0: not said.")
    errors: list[dict[str, str]] = Field([], description="For an invalid request: field and what is wrong with it.")
    scenes: list[str] = Field([], description="For an unknown scene: the scenes there are.")
    results: list["EventResult"] = Field([], description="For a batch in which nothing was stored: why, per entry.")


class BatchEntry(BaseModel):
    """The answer to one question of a batch: an answer or a problem."""

    answer: RecommendAnswer | None = Field(None, description="The slate, when there is one.")
    problem: Problem | None = Field(None, description="What was wrong with this question.")


class BatchAnswer(BaseModel):
    """Answers in the order of the questions."""

    results: list[BatchEntry] = Field(description="One entry per question.")


class EventIn(Wire):
    """Something that happened (the contract `events` of DESIGN §2)."""

    event_id: Id = Field(description="The shop's own id; the same id twice is one event.")
    customer_id: Id = Field(description="Who.")
    kind: Literal[EVENT_KINDS] = Field(description="What happened.")  # type: ignore[valid-type] # spelled once, in columns
    at: Moment = Field(description="When.")
    item_kind: Literal[ITEM_KINDS] = Field("product", description="Kind of the item.")  # type: ignore[valid-type] # idem
    item_id: Id | None = Field(None, description="With which item; events about no item leave it out.")
    quantity: Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)] | None = Field(
        None, description="Units; default 1."
    )
    price: Amount | None = Field(None, description="Price per unit in the shop's currency.")
    order_id: Id | None = Field(None, description="Purchases with the same order_id are one basket.")
    channel: Id | None = Field(None, description="Where.")
    decision_id: Id | None = Field(None, description="The decision that showed the item.")
    touch_id: Id | None = Field(None, description="The touch it answers.")
    position: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(None, description="Place in the slate, from 0.")
    value: Number | None = Field(None, description="Amount of the event's own.")
    props: dict[str, Any] | None = Field(None, description="Anything else the shop wants to keep, a JSON object.")


class EventsRequest(Wire):
    """A batch of events; each is judged alone, good ones are kept beside bad ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "event_id": "e-1", "customer_id": "wx-7f3a", "kind": "purchase",
                            "at": "2025-03-01T09:30:00+08:00", "item_id": "p-31", "quantity": 2, "price": 19.9,
                            "order_id": "o-9",
                        }
                    ]
                }
            ]
        }
    )  # fmt: skip

    events: Annotated[
        list[Any],
        WithJsonSchema(
            {
                "type": "array", "items": {"$ref": "#/components/schemas/EventIn"}, "minItems": 1,
                "maxItems": EVENTS_LIMIT,
            }
        ),
    ] = Field(min_length=1, max_length=EVENTS_LIMIT, description="Up to 10,000 events.")  # fmt: skip


class EventResult(BaseModel):
    """What became of one event."""

    event_id: str = Field(description="Its id; empty when it could not be read.")
    result: Literal["stored", "late", "duplicate", "conflict", "invalid", "erased"] = Field(
        description="stored; late: stored, counts once compared with the lake; duplicate: known already; "
        "conflict: the id is taken by a different event; invalid: see detail; erased: the customer was."
    )
    detail: str = Field("", description="What is wrong and what to do.")


class EventsAnswer(BaseModel):
    """What became of each event, in the order sent."""

    stored: int = Field(description="How many are newly stored; they are seen by the next decision.")
    results: list[EventResult] = Field(description="One entry per event.")
