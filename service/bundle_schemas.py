"""What goes over the wire of `POST /v1/bundles`."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from models.bundles.wishes import MOST_PARTS
from service.schemas import K_LIMIT, LIST_LIMIT, Context, FilterRules, Id, Positive, Wire

Theme = Annotated[str, StringConstraints(max_length=200)]


class Around(Wire):
    """What the bundles are about; nothing said: the customer, and without a customer what many buy together."""

    item_ids: list[Id] = Field(
        [], max_length=MOST_PARTS - 1,
        description="Product ids that are parts of every bundle; what this customer has just bought is not sold again: "
        "then the bundles go with it.",
    )  # fmt: skip
    basket: list[Id] = Field(
        [], max_length=LIST_LIMIT, description="Product ids in the basket now: bundles go with it and hold none of it."
    )
    theme: Theme = Field("", description="A theme of the shop's bundles or rules, a category, or words of products.")

    @model_validator(mode="after")
    def _is_about_one_thing(self) -> Self:
        if self.theme and (self.item_ids or self.basket):
            raise ValueError("give a theme, or items and a basket, not both")
        return self


class BundlesRequest(Wire):
    """Bundles for a customer, around products, a basket or a theme."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"customer_id": "wx-7f3a", "around": {"item_ids": ["p-102"]}, "k": 3, "discount": 0.1},
                {
                    "customer_id": "wx-7f3a", "around": {"basket": ["p-102", "p-31"]}, "spend_threshold": 199, "k": 2,
                    "margin_floor": 0.2, "exclude": ["p-17"], "context": {"channel": "mini-program"},
                },
            ]
        }
    )  # fmt: skip

    customer_id: Id | None = Field(None, description="The shop's id of the customer; none: the same for everybody.")
    around: Around = Field(Around(), description="What the bundles are about.")
    k: int = Field(5, ge=1, le=K_LIMIT, description="Bundles wanted; the service's own limit may be lower.")
    size_min: Annotated[int, Field(ge=1, le=MOST_PARTS)] | None = Field(
        None, description="Least number of parts; not said: 2, or 1 to a basket."
    )
    size_max: Annotated[int, Field(ge=1, le=MOST_PARTS)] | None = Field(
        None, description="Greatest number of parts; not said: 3, or 5 where a price is aimed at."
    )
    target_price: Positive | None = Field(None, description="A bundle costs no more, and nearly as much.")
    spend_threshold: Positive | None = Field(
        None, description="With the basket a bundle costs as much at least, and little more (full-reduction offers)."
    )
    discount: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Share taken off the parts' prices where the shop has set none; not said: the shop's setting."
    )
    margin_floor: Annotated[float, Field(ge=-10, le=1)] | None = Field(
        None, description="Least share of the price above the parts' costs; parts of unknown cost are left out then."
    )
    exclude: list[Id] = Field(
        [], max_length=LIST_LIMIT, description="Product ids that are no part, bundle ids that are not shown."
    )
    pins: list[Id] = Field([], max_length=LIST_LIMIT, description="Ids of the shop's bundles that come first.")
    filters: FilterRules = Field(FilterRules(), description="Category and brands of all parts, price of the bundle.")
    context: Context = Field(Context(), description="Channel, basket and what was just looked at.")

    @model_validator(mode="after")
    def _sizes_leave_room(self) -> Self:
        most = MOST_PARTS if self.size_max is None else self.size_max
        if (self.size_min or 1) > most:
            raise ValueError("size_min is above size_max")
        if len(self.around.item_ids) > most:
            raise ValueError("around names more products than a bundle may have parts")
        return self
