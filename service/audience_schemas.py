"""What goes over the wire about audiences and groups; see service/schemas.py for ids and moments."""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.audience.aim import Aim, AimKind
from models.audience.selection import Budget, Cap, Rules
from models.slate import Filters
from service.command import Command
from service.groups import GroupWishes
from service.schemas import LIST_LIMIT, Amount, Id, ReasonOut, Text, Wire

EXCLUDE_LIMIT: Final = 100_000


class AimIn(Wire):
    """What an audience is sought for."""

    kind: AimKind = Field(description="product, category, bundle, content or campaign.")
    id: Annotated[Text, Field(min_length=1, max_length=1_000)] = Field(
        description="Its id; of a category the path `a/b`: what lies below it belongs to it."
    )


class BudgetIn(Wire):
    """What may be spent; the least of what is said."""

    customers: Annotated[int, Field(ge=1)] | None = Field(None, description="Most customers in the list.")
    money: Amount | None = Field(None, description="Most money; needs `cost`.")
    cost: Amount | None = Field(None, description="Cost of one touch, in the same currency.")

    @model_validator(mode="after")
    def _is_a_budget(self) -> Self:
        if self.customers is None and self.money is None:
            raise ValueError("say customers, or money and cost")
        if (self.money is None) != (self.cost is None) or self.cost == 0:
            raise ValueError("money and cost (above 0) go together")
        return self


class CapIn(Wire):
    """A limit for customers who have something in common."""

    by: Id = Field(description="A customer attribute: region, tier …")
    most: int = Field(ge=1, description="Most customers with one value of it; those without a value count as one.")


class AudienceRequest(Wire):
    """For what, within which budget, and whom to leave out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "aim": {"kind": "product", "id": "p-31"}, "budget": {"customers": 500}, "holdout_share": 0.1,
                    "bought_days": 14, "channel": "wecom", "name": "spring tea",
                },
                {
                    "aim": {"kind": "category", "id": "drinks/tea"}, "budget": {"money": 800, "cost": 0.4},
                    "caps": [{"by": "region", "most": 400}], "for_analysis": True,
                },
            ]
        }
    )  # fmt: skip

    aim: AimIn = Field(description="What it is for.")
    budget: BudgetIn = Field(description="What may be spent.")
    channel: Id | None = Field(None, description="Channel of the message: a marketing consent for it is needed.")
    for_analysis: bool = Field(
        default=False,
        description="true: nobody is going to be touched, so no marketing consent is needed; the answer says so. "
        "Who has switched personalization off is in no list.",
    )
    exclude: list[Id] = Field([], max_length=EXCLUDE_LIMIT, description="Customers never to be in the list.")
    bought_days: Annotated[int, Field(ge=1, le=3_650)] | None = Field(
        None, description="Leave out who bought any of it in so many days."
    )
    least_probability: float = Field(0.0, ge=0, le=1, description="Leave out who is less likely to buy.")
    caps: list[CapIn] = Field([], max_length=10, description="Most customers by value of an attribute.")
    holdout_share: float = Field(0.0, ge=0, le=0.9, description="Share kept out of the list to measure what it does.")
    name: Annotated[Text, Field(max_length=256)] = Field(
        "", description="Draws the holdout: the same name keeps the same customers out. Empty: the aim is the name."
    )

    def of_campaign(self, offered: tuple[str, ...]) -> Aim:
        """Return the aim; `offered` are the products of a campaign."""
        return Aim(self.aim.kind, self.aim.id, offered)

    def rules(self) -> Rules:
        """Return how the list is chosen; a list for analysis holds nobody out."""
        budget = Budget(self.budget.customers, self.budget.money, self.budget.cost or 0.0)
        share = 0.0 if self.for_analysis else self.holdout_share
        seed = self.name or f"{self.aim.kind}:{self.aim.id}"
        return Rules(budget, self.least_probability, tuple(Cap(c.by, c.most) for c in self.caps), share, seed)


class AudienceMember(BaseModel):
    """One customer of the list."""

    customer_id: str = Field(description="The canonical id.")
    decision_id: str = Field(description="Send it with the touch and the events that follow; empty for analysis.")
    probability: float | None = Field(
        description="That he buys any of it within the horizon; null: the release has too little to say."
    )
    reason: ReasonOut = Field(description="Why he is in the list, for the one who sends.")


class AudienceAnswer(BaseModel):
    """The list, the most likely first."""

    decision_id: str = Field(description="Names the list.")
    customers: list[AudienceMember] = Field(description="Whom to touch; never more than the budget pays for.")
    expected_responses: float | None = Field(description="Sum of the probabilities of the list; null as above.")
    held_out: int = Field(description="Customers kept out by chance; each is logged as one who was.")
    left_out: dict[str, int] = Field(description="How many were passed over on the way down, by reason.")
    spent: float | None = Field(description="Cost of the list; null when no cost was said.")
    horizon_days: int = Field(description="Days in which a purchase counts as a response.")
    for_analysis: bool = Field(description="true: marketing consent was not asked for; touch nobody of it.")
    degraded: list[str] = Field(description="What is known less well than it should be; empty when nothing is.")
    release: str = Field(description="The release that answered.")


class GroupRequest(Wire):
    """What to post in a group."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"k": 5, "fairness": 0.5}, {"k": 5, "members": ["c1", "c2", "c3", "c4", "c5"]}]}
    )

    k: int = Field(5, ge=1, le=1_000, description="Places wanted.")
    scene: Id = Field("home", description="The recipe that says what each member wants; a scene of products.")
    fairness: float = Field(
        0.5, ge=0, le=1, description="0: the average of all members decides; 1: always the one who got least so far."
    )
    members: list[Id] | None = Field(
        None,
        max_length=LIST_LIMIT,
        description="Who is in the group now; without, those whose profile names the group.",
    )
    exclude: list[Id] = Field([], max_length=LIST_LIMIT, description="Product ids never to be shown.")
    pins: list[Id] = Field([], max_length=LIST_LIMIT, description="Product ids that come first.")
    channel: Id | None = Field(None, description="Where it is posted.")

    def command(self, wishes: GroupWishes) -> Command:
        """Return the question as the one flow of decisions takes it; the log keeps no member's name."""
        told = self.model_dump(mode="json", exclude_defaults=True, exclude={"members"}) | {"group_id": wishes.id}
        return Command(
            None, self.scene, self.k, Filters(), tuple(self.exclude), pins=tuple(self.pins),
            channel=self.channel or "", group=wishes, wire=told,
        )  # fmt: skip
