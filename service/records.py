"""What a shop tells of its products, contents, bundles and customers over HTTP, and the table rows it becomes."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from features.clock import microseconds
from features.shop import validated_timezone
from service.profiles import ProfileOut
from service.schemas import BATCH_LIMIT, Amount, Id, Moment, Number, Text, Wire

Ids: TypeAlias = Annotated[list[Id], Field(max_length=1_000)]


def at_of(moment: int | datetime, timezone: str) -> int:
    """Return a moment as UTC µs; a naive one is read in the shop's time zone."""
    return moment if isinstance(moment, int) else microseconds(moment.replace(tzinfo=ZoneInfo(timezone)))


def json_text(value: Mapping[str, Any]) -> str:
    """Return a JSON object as tables hold it: text with sorted keys."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _writable(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON text cannot hold: NaN, infinities and halves of a character."""
    json_text(value).encode()
    return value


def _zone(name: str) -> str:
    # A UsageError is not a ValueError; pydantic words ValueErrors only.
    try:
        return validated_timezone(name)
    except Exception as error:
        raise ValueError("is not an IANA time zone such as Asia/Shanghai") from error


JsonObject: TypeAlias = Annotated[dict[str, Any], AfterValidator(_writable)]


class Record(Wire):
    """A row of a table without its key; what is left out is unknown."""

    def row(self, key: str, record_id: str, valid_from: int, timezone: str) -> dict[str, Any]:
        """Return the table's row, a full version that holds from `valid_from` (UTC µs)."""
        row: dict[str, Any] = {key: record_id, "valid_from": valid_from}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, datetime):
                value = at_of(value, timezone)
            row[name] = json_text(value) if isinstance(value, dict) else value
        row.pop("id", None)
        return {name: value for name, value in row.items() if value is not None}


class ProductIn(Record):
    """A product as it is from now on; a full version: what is left out is forgotten."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "冷萃咖啡 cold brew 250 ml", "category": "drinks/coffee", "brand": "Pond", "price": 19.9,
                    "stock": 120, "status": "active",
                }
            ]
        }
    )  # fmt: skip

    title: Text | None = Field(None, description="Name shown to customers.")
    category: Text | None = Field(None, description="Path `a/b/c`.")
    brand: Text | None = Field(None, description="Brand.")
    price: Amount | None = Field(None, description="Price in the shop's currency.")
    member_price: Amount | None = Field(None, description="Price for members.")
    cost: Amount | None = Field(None, description="What the shop pays; never shown.")
    stock: Number | None = Field(None, description="Units left; 0 or less hides the product at once, unknown does not.")
    tags: Ids | None = Field(None, description="Tags.")
    pack_size: Text | None = Field(None, description="For example `6 x 330 ml`.")
    status: Text | None = Field(None, description="hidden, deleted, discontinued, inactive or expired hide it at once.")
    created_at: Moment | None = Field(None, description="New since when; before this moment it is not shown.")
    image_url: Text | None = Field(None, description="Picture.")
    text: Text | None = Field(None, description="Description.")
    attributes: JsonObject | None = Field(None, description="Anything else, a JSON object.")


class ContentIn(Record):
    """A content as it is from now on."""

    form: Text | None = Field(None, description="article, short_video, live, podcast …")
    title: Text | None = Field(None, description="Title.")
    body: Text | None = Field(None, description="Text.")
    tags: Ids | None = Field(None, description="Tags.")
    product_ids: Ids | None = Field(None, description="Products it carries.")
    channels: Ids | None = Field(None, description="Channels it may be shown on; unknown: all.")
    stage: Text | None = Field(None, description="Life stage it speaks to.")
    published_at: Moment | None = Field(None, description="Published when.")
    starts_at: Moment | None = Field(None, description="Not shown before.")
    expires_at: Moment | None = Field(None, description="Not shown from then on.")


class BundleIn(Record):
    """Products sold together, as they are from now on."""

    product_ids: Annotated[list[Id], Field(min_length=1, max_length=100)] = Field(description="What it is made of.")
    title: Text | None = Field(None, description="Name.")
    price: Amount | None = Field(None, description="Price of the whole.")
    theme: Text | None = Field(None, description="Scenario it belongs to.")
    status: Text | None = Field(None, description="As a product's.")


class CustomerIn(Record):
    """A customer's profile as it is from now on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"attributes": {"region": "Shanghai", "tier": "gold"}, "tags": ["敏感肌"]}]}
    )

    attributes: JsonObject | None = Field(None, description="birthday, gender, region, tier, points …")
    tags: Ids | None = Field(None, description="Tags.")
    timezone: Annotated[Text, AfterValidator(_zone)] | None = Field(None, description="IANA zone, if not the shop's.")
    group_ids: Ids | None = Field(None, description="Groups the customer is in.")
    advisor_id: Id | None = Field(None, description="The customer's advisor.")
    inviter_id: Id | None = Field(None, description="Who invited the customer.")
    joined_at: Moment | None = Field(None, description="Member since.")


class _Identified(Wire):
    id: Id = Field(description="The shop's id.")


class ProductEntry(ProductIn, _Identified):
    """A product of a batch."""


class ContentEntry(ContentIn, _Identified):
    """A content of a batch."""


class BundleEntry(BundleIn, _Identified):
    """A bundle of a batch."""


class CustomerEntry(CustomerIn, _Identified):
    """A customer of a batch."""


class ProductBatch(Wire):
    """Products, all stored or, when one does not fit its schema, none."""

    products: list[ProductEntry] = Field(min_length=1, max_length=BATCH_LIMIT, description="Up to 1,000.")


class ContentBatch(Wire):
    """Contents, all stored or, when one does not fit its schema, none."""

    contents: list[ContentEntry] = Field(min_length=1, max_length=BATCH_LIMIT, description="Up to 1,000.")


class BundleBatch(Wire):
    """Bundles, all stored or, when one does not fit its schema, none."""

    bundles: list[BundleEntry] = Field(min_length=1, max_length=BATCH_LIMIT, description="Up to 1,000.")


class CustomerBatch(Wire):
    """Customers, all checked before the first is stored."""

    customers: list[CustomerEntry] = Field(min_length=1, max_length=BATCH_LIMIT, description="Up to 1,000.")


class ConsentIn(Wire):
    """A customer's word on what may be done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"purpose": "personalization", "state": "off"}]})

    purpose: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = Field(
        description="personalization switches every use of history on or off; marketing … are for messages."
    )
    state: Literal["on", "off"] = Field(description="on or off.")
    channel: Id | None = Field(None, description="For one channel only; personalization is one word for all.")
    at: Moment | None = Field(None, description="When it was said; default now. The latest word holds.")
    source: Text | None = Field(None, description="Where it was said.")


class ConsentOut(BaseModel):
    """A customer's last word on a purpose and channel."""

    purpose: str = Field(description="personalization, marketing …")
    channel: str | None = Field(description="The one channel it was said about; null: all.")
    state: Literal["on", "off"] = Field(description="on or off.")
    at: str = Field(description="When it was said, UTC.")
    source: str = Field(description="Where it was said, as the shop told; the proof stands there.")


class ConsentsOut(BaseModel):
    """Everything a customer said about what may be done with him."""

    customer_id: str = Field(description="The canonical id.")
    personalization: Literal["on", "off"] = Field(description="on until it is refused.")
    consents: list[ConsentOut] = Field(description="Last words by purpose and channel; what is not here was not said.")
    may_touch: bool | None = Field(
        None, description="Whether a message may go out, for the `purpose` and `channel` asked about; unknown: no."
    )


class IdentityIn(Wire):
    """Whose id it is."""

    customer_id: Id = Field(description="The customer whose id it is; any id of his.")


class MergeIn(Wire):
    """Who stays."""

    into: Id = Field(description="The customer who stays; the other's id becomes another id of his.")


class MergedOut(BaseModel):
    """One person with several ids."""

    customer_id: str = Field(description="The canonical id: history, consent and limits stand under it.")
    other_id: str = Field(description="The id that means the same person from now on.")
    result: Literal["merged", "already"] = Field(description="already: they were one person before.")


class Stored(BaseModel):
    """What an upsert answers."""

    stored: int = Field(description="Rows stored; the very next request on any worker sees them.")
    version: str = Field("", description="The catalogue's version with these rows.")


class RecordOut(BaseModel):
    """A row as it is known now."""

    id: str = Field(description="The shop's id.")
    source: Literal["live", "release"] = Field(description="Told since the release was trained, or in the release.")
    fields: dict[str, Any] = Field(description="Columns of its table; moments in UTC µs.")


class TailEvent(BaseModel):
    """One recent event of a customer."""

    at: str = Field(description="When, UTC.")
    kind: str = Field(description="What.")
    item_kind: str = Field(description="Kind of the item.")
    item_id: str = Field(description="With which item.")


class CustomerOut(BaseModel):
    """What a decision would know of a customer now."""

    customer_id: str = Field(description="The canonical id.")
    other_ids: list[str] = Field([], description="Further ids of the same person that were told live.")
    personalization: Literal["on", "off"] = Field(description="off: nothing below is read for a decision.")
    known_to_release: bool = Field(description="Whether the release has a history of this customer.")
    attributes: dict[str, str] = Field(description="Attributes as the models see them.")
    consents: dict[str, str] = Field(description="Last word by `purpose` or `purpose:channel`.")
    profile: ProfileOut | None = Field(None, description="Who the customer is; none when personalization is off.")
    profile_note: str = Field("", description="Why there is no profile; empty when there is one.")
    recent: list[TailEvent] = Field(description="Events since the release was trained, oldest first.")


class ErasureOut(BaseModel):
    """The receipt of an erasure; it holds no personal data."""

    receipt: str = Field(description="Its id, for `GET /v1/erasures/{receipt}`.")
    state: Literal["begun", "done"] = Field(
        description="begun: nothing of the customer is read or taken in any more, but files may still hold him; done: "
        "nothing is left."
    )
    asked_at: str = Field(description="When it was asked for.")
    done_at: str | None = Field(description="When it was done.")
    counts: dict[str, int] = Field(description="What was removed, by place.")


class DecisionOut(BaseModel):
    """One logged decision: why was this shown."""

    decision_id: str = Field(description="Its id.")
    customer_id: str = Field(description="For whom.")
    at: str = Field(description="When, UTC.")
    scene: str = Field(description="In which scene.")
    release: str = Field(description="By which release.")
    body: dict[str, Any] = Field(description="Request, what was read, slate with scores, reasons and propensities.")


class ReleaseOut(BaseModel):
    """One release."""

    release_id: str = Field(description="Its id.")
    created_at: str = Field(description="When it was trained, UTC.")
    as_of: str = Field(description="What it knows lies strictly before, UTC.")
    is_current: bool = Field(description="Whether the pointer names it.")
    metrics: dict[str, float] = Field(description="How good it was when it was evaluated.")
    gates: dict[str, str] = Field(description="Results of its gates.")


class DamagedOut(BaseModel):
    """A release of which its own manifest cannot be read."""

    release_id: str = Field(description="The name of its directory.")
    why: str = Field(description="What is wrong with it.")


class AuditEntry(BaseModel):
    """Who did what to the shop."""

    at: str = Field(description="When, UTC.")
    actor: str = Field(description="The id of a key, or `cli` for the command line.")
    action: str = Field(description="What: key.create, key.revoke, release.promote …")
    details: dict[str, Any] = Field(description="With what; no secrets, no personal data.")


class AuditOut(BaseModel):
    """The shop's audit trail, newest first."""

    entries: list[AuditEntry] = Field(description="The latest ones, newest first.")


class ReleasesOut(BaseModel):
    """All releases of the shop, oldest first."""

    current: str | None = Field(description="What the pointer names; workers follow within a second.")
    serving: str | None = Field(description="What this worker serves with.")
    releases: list[ReleaseOut] = Field(description="Oldest first.")
    damaged: list[DamagedOut] = Field(description="What cannot be read: restore it from a backup, or delete it.")
