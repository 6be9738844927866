"""The shop's own rules of what goes together: "robot vacuum → mop + purifier" (`[[parts.bundles.scenarios]]`)."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from features.arrays import Bools, Int32s
from models.items import ItemTable


class Role(BaseModel):
    """One place in a scenario's bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What the part is there for; answers name it.")
    of: tuple[str, ...] = Field(min_length=1, description="Category paths or product ids that fill it.")
    optional: bool = Field(default=False, description="Whether a bundle may do without.")


class Scenario(BaseModel):
    """When a customer is about one thing, what belongs to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="Unique among the scenarios; stages are named `scenario:<name>`.")
    when: tuple[str, ...] = Field(min_length=1, description="Category paths or product ids that it starts from.")
    roles: tuple[Role, ...] = Field(min_length=1, max_length=4, description="What is added.")
    theme: str = Field("", description="A theme that asks for it too.")
    zh: str = Field("", description="Its name for customers in Chinese; empty: `name`.")
    en: str = Field("", description="Its name for customers in English; empty: `name`.")

    @model_validator(mode="after")
    def _roles_differ(self) -> Self:
        if len({role.name for role in self.roles}) < len(self.roles):
            raise ValueError("roles: two have the same name; give each its own")
        return self


def belongs(item_idx: Int32s, named: tuple[str, ...], items: ItemTable) -> Bools:
    """Which items are among the named product ids or in (or below) the named category paths: bool [n]."""
    belonging: Bools = np.isin(item_idx, items.idxs(named))
    for name in named:
        belonging |= items.below(name)[items.category[item_idx]]
    return belonging
