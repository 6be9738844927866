"""Rules over the wire: what an operator tells and what is kept (`models.rules.Rule`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.columns import ITEM_KINDS
from features.errors import ContractError
from models.rules import Action, Rule
from service.faults import field_of, sentence_of
from service.records import at_of
from service.schemas import Id, Moment, Text, Wire, iso

Ids = Annotated[list[Id], Field(max_length=1_000)]


class RuleIn(Wire):
    """A rule as it is from now on; what is left empty does not narrow it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"action": "pin", "item_ids": ["p-12"], "scenes": ["home"], "ends_at": "2026-11-12T00:00:00+08:00"},
                {"action": "bury", "category": "drinks/alcohol", "factor": 0.2, "segment": {"tier": "junior"}},
                {"action": "exclude", "item_kind": "content", "item_ids": ["a-7"], "note": "under review"},
            ]
        }
    )  # fmt: skip

    action: Action = Field(
        description="pin: first, in the order named; boost, bury: up or down by `factor`; exclude: never; only: "
        "nothing else of its kind."
    )
    item_kind: Literal[ITEM_KINDS] = Field(  # type: ignore[valid-type] # spelled once, in columns
        "product", description="Which kind of item it speaks of."
    )
    item_ids: Ids = Field([], description="These items.")
    category: Text = Field(
        "", description="Items of this category path and below; contents and bundles that carry such a product."
    )
    brand: Text = Field("", description="Items of this brand; contents and bundles that carry such a product.")
    scenes: Ids = Field([], description="Only in these scenes; empty: in all.")
    channels: Ids = Field([], description="Only on these channels; empty: on all.")
    segment: dict[Id, Text] = Field(
        {}, max_length=20,
        description="Only for customers with all these attributes; never for one whose personalization is off.",
    )  # fmt: skip
    factor: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = Field(
        None, description="Of boost (above 1, standard 2) and bury (below 1, standard 0.5): in place r an item "
        "competes with factor / (10 + r).",
    )  # fmt: skip
    starts_at: Moment | None = Field(None, description="Holds from then on.")
    ends_at: Moment | None = Field(None, description="Holds until then.")
    note: Text = Field("", description="Why, for colleagues.")

    def rule(self, rule_id: str, timezone: str) -> Rule:
        """Return the rule; one that makes no sense is a `ContractError`."""
        said = {name: getattr(self, name) for name in type(self).model_fields}
        for name in ("starts_at", "ends_at"):
            value: int | datetime | None = said[name]
            said[name] = None if value is None else at_of(value, timezone)
        try:
            return Rule(rule_id=rule_id, **said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ContractError("rule", field_of(first["loc"]), f"{sentence_of(first)}.") from error


class RuleOut(BaseModel):
    """A rule that is kept."""

    rule_id: str = Field(description="Its id.")
    holds: Literal["now", "later", "over"] = Field(description="By its dates alone.")
    action: str = Field(description="pin, boost, bury, exclude or only.")
    item_kind: str = Field(description="product, content or bundle.")
    item_ids: list[str] = Field(description="These items.")
    category: str = Field(description="Items of this category path and below.")
    brand: str = Field(description="Items of this brand.")
    scenes: list[str] = Field(description="Only in these scenes.")
    channels: list[str] = Field(description="Only on these channels.")
    segment: dict[str, str] = Field(description="Only for customers with all these attributes.")
    factor: float | None = Field(description="Of boost and bury.")
    starts_at: str | None = Field(description="UTC.")
    ends_at: str | None = Field(description="UTC.")
    note: str = Field(description="Why.")
    unknown: list[str] = Field(description="What it names and the shop does not know (yet); a rule waits for it.")

    @classmethod
    def of(cls, rule: Rule, now: int, unknown: Sequence[str] = ()) -> "RuleOut":
        """Word a rule; `now` is UTC µs, `unknown` what of it speaks of nothing."""
        later = rule.starts_at is not None and now < rule.starts_at
        over = rule.ends_at is not None and rule.ends_at <= now
        moments = {name: None if (at := getattr(rule, name)) is None else iso(at) for name in ("starts_at", "ends_at")}
        said = rule.model_dump(exclude={"starts_at", "ends_at"}) | moments
        return cls(holds="over" if over else "later" if later else "now", unknown=list(unknown), **said)


class RulesOut(BaseModel):
    """All rules of a shop."""

    version: str = Field(description="Of the whole; decisions name the one they were made under.")
    rules: list[RuleOut] = Field(description="In the order of their ids; rules that are over are kept until ended.")
