"""The tables of a shop as values: columns, physical types, keys and rules (DESIGN §2).

Ids and words are text; moments are UTC microseconds; amounts are floats; lists hold text; `attributes` and `props`
hold one JSON object as text with sorted keys. Null means unknown; NaN never stands in a table.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import polars as pl

from features import columns as c
from features.columns import EVENT_KINDS, ITEM_KINDS
from features.errors import UsageError

Meaning: TypeAlias = Literal["id", "word", "text", "json", "moment", "amount", "whole", "list"]

DTYPES: Final[dict[Meaning, pl.DataType]] = {
    "id": pl.String(), "word": pl.String(), "text": pl.String(), "json": pl.String(), "moment": pl.Int64(),
    "amount": pl.Float64(), "whole": pl.Int32(), "list": pl.List(pl.String()),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    meaning : str
        `id` (1 to 256 characters), `word` (one of `choices`), `text`, `json` (an object as text), `moment` (UTC µs),
        `amount`, `whole` (a whole number) or `list` (of ids or words).
    required : bool
        A row without it is rejected; a file without it is refused.
    least : float or None
        Smallest amount allowed; `above` excludes it.
    choices : tuple of str
        The words allowed; empty: any.
    """

    name: str
    meaning: Meaning
    required: bool = False
    least: float | None = None
    above: bool = False
    choices: tuple[str, ...] = ()

    @property
    def dtype(self) -> pl.DataType:
        """Its physical type in the lake."""
        return DTYPES[self.meaning]


@dataclass(frozen=True, slots=True)
class Table:
    """The contract of one table.

    Attributes
    ----------
    key : tuple of str
        What names a row; two rows with one key and different content contradict each other.
    extras : str
        The JSON column that keeps a shop's own columns; empty: the table keeps none.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    extras: str = ""
    format_version: int = 1

    @property
    def schema(self) -> pl.Schema:
        """Column names and physical types, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which a row is rejected."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def is_versioned(self) -> bool:
        """Whether its rows are versions of a thing (`valid_from`)."""
        return c.VALID_FROM in self.key

    def empty(self) -> pl.DataFrame:
        """A frame of this table without rows."""
        return pl.DataFrame(schema=self.schema)


def _id(name: str, *, required: bool = False) -> Column:
    return Column(name, "id", required)


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "text") for name in names)


def _amount(name: str) -> Column:
    return Column(name, "amount", least=0)


_VALID_FROM: Final = Column(c.VALID_FROM, "moment")

EVENTS: Final = Table(
    "events", (c.EVENT_ID,),
    (
        _id(c.EVENT_ID), _id(c.CUSTOMER_ID, required=True), Column(c.KIND, "word", required=True, choices=EVENT_KINDS),
        Column(c.AT, "moment", required=True), Column(c.ITEM_KIND, "word", choices=ITEM_KINDS), _id(c.ITEM_ID),
        Column(c.QUANTITY, "amount", least=0, above=True), _amount(c.PRICE), _id(c.ORDER_ID), _id(c.CHANNEL),
        _id(c.DECISION_ID), _id(c.TOUCH_ID), Column(c.POSITION, "whole", least=0), Column(c.VALUE, "amount"),
        Column(c.PROPS, "json"),
    ),
    extras=c.PROPS,
)  # fmt: skip

PRODUCTS: Final = Table(
    "products", (c.PRODUCT_ID, c.VALID_FROM),
    (
        _id(c.PRODUCT_ID, required=True), _VALID_FROM, *_texts("title", "category", "brand"), _amount(c.PRICE),
        _amount("member_price"), _amount("cost"), Column("stock", "amount"), Column("tags", "list"),
        *_texts("pack_size", "status"), Column("created_at", "moment"), *_texts("image_url", "text"),
        Column("attributes", "json"),
    ),
    extras="attributes",
)  # fmt: skip

CONTENTS: Final = Table(
    "contents", (c.CONTENT_ID, c.VALID_FROM),
    (
        _id(c.CONTENT_ID, required=True), _VALID_FROM, *_texts("form", "title", "body"), Column("tags", "list"),
        Column("product_ids", "list"), Column("channels", "list"), Column("stage", "text"),
        Column("published_at", "moment"), Column("starts_at", "moment"), Column("expires_at", "moment"),
    ),
)  # fmt: skip

BUNDLES: Final = Table(
    "bundles", (c.BUNDLE_ID, c.VALID_FROM),
    (
        _id(c.BUNDLE_ID, required=True), _VALID_FROM, Column("product_ids", "list", required=True),
        Column("title", "text"), _amount(c.PRICE), *_texts("theme", "status"),
    ),
)  # fmt: skip

CUSTOMERS: Final = Table(
    "customers", (c.CUSTOMER_ID, c.VALID_FROM),
    (
        _id(c.CUSTOMER_ID, required=True), _VALID_FROM, Column("attributes", "json"), Column("tags", "list"),
        Column("timezone", "text"), Column("group_ids", "list"), _id("advisor_id"), _id("inviter_id"),
        Column("joined_at", "moment"),
    ),
    extras="attributes",
)  # fmt: skip

IDENTITIES: Final = Table(
    "identities", ("id_type", "id_value"),
    (_id("id_type", required=True), _id("id_value", required=True), _id(c.CUSTOMER_ID, required=True)),
)  # fmt: skip

CONSENTS: Final = Table(
    "consents", (c.CUSTOMER_ID, "purpose", c.CHANNEL, c.AT),
    (
        _id(c.CUSTOMER_ID, required=True), _id("purpose", required=True), _id(c.CHANNEL),
        Column(c.AT, "moment", required=True), Column("state", "word", required=True, choices=("on", "off")),
        Column("source", "text"),
    ),
)  # fmt: skip

CAMPAIGNS: Final = Table(
    "campaigns", (c.CAMPAIGN_ID,),
    (
        _id(c.CAMPAIGN_ID, required=True), Column("targets", "json"), Column("offers", "json"),
        Column("starts_at", "moment"), Column("ends_at", "moment"),
    ),
)  # fmt: skip

DECISIONS: Final = Table(
    "decisions", (c.DECISION_ID,),
    (
        _id(c.DECISION_ID, required=True), _id(c.CUSTOMER_ID, required=True), Column(c.AT, "moment", required=True),
        _id("scene"), _id("release"), Column("body", "json", required=True),
    ),
)  # fmt: skip

PROFILES: Final = Table(
    "profiles", (c.CUSTOMER_ID, "as_of"),
    (
        _id(c.CUSTOMER_ID, required=True), Column("as_of", "moment", required=True), _id("release"),
        *_texts("stage", "stage_zh", "stage_en", "layer", "layer_zh", "layer_en"), Column("recency_days", "whole"),
        Column("purchase_days", "whole"), Column("baskets", "whole"), Column("typical_gap_days", "amount"),
        Column("spend", "amount"), Column("year_spend", "amount"), Column("margin", "amount"),
        Column("basket_value", "amount"), Column("p_alive", "amount"), Column("expected_30", "amount"),
        Column("expected_90", "amount"), Column("expected_spend_90", "amount"), Column("price_level", "amount"),
        Column("discount_share", "amount"), Column("categories", "list"), Column("brands", "list"),
        Column("active_hours", "list"), Column("channels", "list"), Column("tags", "list"),
        Column("derived_tags", "list"), Column("body", "json"),
    ),
)  # fmt: skip

TABLES: Final[dict[str, Table]] = {
    t.name: t
    for t in (EVENTS, PRODUCTS, CONTENTS, BUNDLES, CUSTOMERS, IDENTITIES, CONSENTS, CAMPAIGNS, DECISIONS, PROFILES)
}  # fmt: skip
WRITTEN_BY_POND: Final = ("decisions", "profiles")
FROM_FILES: Final = tuple(name for name in TABLES if name not in WRITTEN_BY_POND)


def table_named(name: str) -> Table:
    """Return the contract of a table, or say which tables there are."""
    if name not in TABLES:
        raise UsageError(f"There is no table '{name}'; use one of {', '.join(TABLES)}.")
    return TABLES[name]


class Tables(Protocol):
    """What everything that is known is read from: the committed rows of each table (the lake is one)."""

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all committed rows with exactly the columns of the table's contract, in the order of commits."""
        ...
