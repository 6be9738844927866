"""Rules of the shop's operators: what must be shown, more, less, never or alone (PRODUCT.md, W4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from features.columns import ITEM_KINDS, ItemKind
from models.lifecycle.standing import STANDINGS

Action: TypeAlias = Literal["pin", "boost", "bury", "exclude", "only"]
WEIGHTS: Final[Mapping[str, float]] = {"boost": 2.0, "bury": 0.5}


class Rule(BaseModel):
    """One rule: what it does, to which items, where, for whom and when.

    What is left empty does not narrow it: no scene means every scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule_id: str
    action: Action = Field(
        description="pin: first, in the order named; boost and bury: further up or down by `factor`; exclude: never; "
        "only: nothing else of its kind."
    )
    item_kind: Literal[ITEM_KINDS] = Field(  # type: ignore[valid-type] # spelled once, in columns
        "product", description="Which kind of item it speaks of."
    )
    item_ids: tuple[str, ...] = Field((), description="These items.")
    category: str = Field(
        "", description="Items of this category path and below; of contents and bundles those with such a product."
    )
    brand: str = Field("", description="Items of this brand; of contents and bundles those with such a product.")
    scenes: tuple[str, ...] = Field((), description="Only in these scenes.")
    channels: tuple[str, ...] = Field((), description="Only on these channels.")
    segment: dict[str, str] = Field(
        default_factory=dict,
        description="Only for customers with all these attributes; `lifecycle_stage` and `value_layer` are the "
        "profile's. For nobody whose personalization is off.",
    )
    factor: float | None = Field(
        None, gt=0, le=100,
        description="An item in place r competes with factor / (10 + r): above 1 for boost (standard 2), below for "
        "bury (standard 0.5).",
    )  # fmt: skip
    starts_at: int | None = Field(None, description="UTC µs: holds from then on.")
    ends_at: int | None = Field(None, description="UTC µs: holds until then, that moment not included.")
    note: str = Field("", description="Why, for colleagues.")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.action == "pin" and not self.item_ids:
            raise ValueError("item_ids: a pin names the items that come first")
        if not (self.item_ids or self.category or self.brand) and self.action != "exclude":
            raise ValueError("item_ids, category, brand: say which items; only exclude may speak of a whole kind")
        if self.factor is not None and self.action not in WEIGHTS:
            raise ValueError(f"factor: belongs to boost and bury, not to {self.action}")
        if (self.action == "boost" and self.weight <= 1) or (self.action == "bury" and self.weight >= 1):
            raise ValueError(f"factor: {self.factor:g} does not {self.action}; above 1 boosts, below 1 buries")
        for name, known in STANDINGS.items():
            if self.segment.get(name, known[0]) not in known:
                raise ValueError(f"segment: {name} is one of {', '.join(known)}")
        if self.starts_at is not None and self.ends_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("ends_at: lies not after starts_at, so the rule would never hold")
        return self

    @property
    def kind(self) -> ItemKind:
        """The kind of item it speaks of."""
        return ItemKind[self.item_kind]

    @property
    def weight(self) -> float:
        """Its factor, 1 where it weighs nothing."""
        return WEIGHTS.get(self.action, 1.0) if self.factor is None else self.factor

    def holds(self, scene: str, channel: str, attributes: Mapping[str, str], at: int) -> bool:
        """Whether it speaks of an answer in this scene, on this channel, to this customer, at this moment (UTC µs)."""
        return (
            (not self.scenes or scene in self.scenes)
            and (not self.channels or channel in self.channels)
            and all(attributes.get(name) == value for name, value in self.segment.items())
            and (self.starts_at is None or self.starts_at <= at)
            and (self.ends_at is None or at < self.ends_at)
        )


@dataclass(frozen=True)
class RuleBook:
    """All rules of a shop as of a version; later versions are greater.

    Rules are read in the order of their ids, so that the same rules give the same answer whoever told them first.
    """

    rules: tuple[Rule, ...] = ()
    version: int = 0
    kinds: frozenset[ItemKind] = field(default_factory=frozenset)
    of_standings: bool = False

    @classmethod
    def of(cls, rules: Sequence[Rule], version: int = 0) -> Self:
        """Take rules in any order."""
        ordered = tuple(sorted(rules, key=lambda rule: rule.rule_id))
        of_standings = any(STANDINGS.keys() & rule.segment.keys() for rule in ordered)
        return cls(ordered, version, frozenset(rule.kind for rule in ordered), of_standings)

    def holding(self, scene: str, channel: str, attributes: Mapping[str, str], at: int) -> tuple[Rule, ...]:
        """Return the rules that speak of an answer."""
        return tuple(rule for rule in self.rules if rule.holds(scene, channel, attributes, at))


NO_RULES: Final = RuleBook()
