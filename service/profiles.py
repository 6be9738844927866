"""The profile of one customer over HTTP: the release's history and what came since, read as a decision reads them."""

from dataclasses import replace
from typing import Final

import numpy as np
from pydantic import BaseModel, Field

from features.columns import ItemKind
from features.trails import Trail, bare_trail
from models.lifecycle.known import about_first, life_of
from models.lifecycle.life import About, Lives
from models.lifecycle.model import LifecycleModel
from models.lifecycle.profile import profiles_of
from models.lifecycle.rules import LAYERS, STAGES
from models.lifecycle.telling import told
from models.trained import Models
from service.customer_state import CustomerState, Status
from service.schemas import ReasonOut, iso
from service.tail import decode_rows

SWITCHED_OFF: Final = "This customer has switched personalization off: no profile is made."
NO_RELEASE: Final = "There is no release to profile with yet; train one."
NOT_KNOWN_YET: Final = "Consents are being read back into the live state; ask again in a moment."


class JudgedOut(BaseModel):
    """A stage or a layer, and why."""

    name: str = Field(description=f"Stage: {', '.join(STAGES)}; layer: {', '.join(LAYERS)}.")
    reason: ReasonOut = Field(description="Which rule decided, in the customer's numbers.")


class TasteOut(BaseModel):
    """A category or brand that the customer is fond of."""

    name: str = Field(description="Category path, or brand.")
    share: float = Field(description="Its share in what the customer buys and looks at, shrunk towards the shop's.")
    strength: float = Field(description="That share over the shop's; above 1.")


class ActiveHourOut(BaseModel):
    """An hour of the week in which the customer is active."""

    hour: int = Field(description="0: Monday from 0 h, 167: Sunday from 23 h, in the customer's time zone.")
    name: str = Field(description="The same in words, such as `Mon 20`.")
    share: float = Field(description="Share of the customer's active hours around it.")


class ChannelOut(BaseModel):
    """A channel by which the customer comes."""

    channel: str = Field(description="As events name it.")
    share: float = Field(description="Share of the hours in which the customer came, until the release.")
    last_at: str = Field(description="When last, UTC.")


class TagOut(BaseModel):
    """A tag that follows from what the customer did."""

    code: str = Field(description="Stable code.")
    zh: str = Field(description="The tag in Chinese.")
    en: str = Field(description="The tag in English.")
    rule_zh: str = Field(description="When it holds, in Chinese.")
    rule_en: str = Field(description="When it holds, in English.")


class ProfileOut(BaseModel):
    """Who the customer is, as of now; null is not known, an empty list is none."""

    stage: JudgedOut = Field(description="Lifecycle stage.")
    layer: JudgedOut = Field(description="Value layer.")
    recency_days: int | None = Field(description="Days since the last purchase.")
    age_days: int | None = Field(description="Days since the first purchase.")
    purchase_days: int = Field(description="Different days with a purchase.")
    baskets: int = Field(description="Orders.")
    lines: int = Field(description="Purchase lines.")
    typical_gap_days: float | None = Field(description="Usual days between purchases, shrunk towards the shop's.")
    spend: float | None = Field(description="Spent so far, less refunds, in the shop's currency.")
    year_spend: float | None = Field(description="Spent within the last 365 days, less refunds.")
    margin: float | None = Field(description="Earned on the lines whose cost is known.")
    margin_share: float | None = Field(description="Share of the spend whose cost is known.")
    basket_value: float | None = Field(description="Spend of a purchase day, shrunk towards the shop's mean.")
    p_alive: float | None = Field(description="Probability that the customer still is one (BG/NBD).")
    expected_30: float | None = Field(description="Purchase days expected in the next 30 days.")
    expected_90: float | None = Field(description="Purchase days expected in the next 90 days.")
    expected_spend_90: float | None = Field(description="Spend expected in the next 90 days.")
    price_level: float | None = Field(description="Prices paid over those of the same categories; 1 is like everybody.")
    discount_share: float | None = Field(description="Share of lines below the usual price, shrunk to the shop's.")
    categories: list[TasteOut] = Field(description="Favourite categories, the most telling first.")
    brands: list[TasteOut] = Field(description="Favourite brands, the most telling first.")
    active_hours: list[ActiveHourOut] = Field(description="Hours of the week, the most active first.")
    channels: list[ChannelOut] = Field(description="Channels, the most used first; events since the release apart.")
    tags: list[str] = Field(description="Tags that the shop gave.")
    derived_tags: list[TagOut] = Field(description="Tags that follow from the data, each with its rule.")
    group_ids: list[str] = Field(description="Groups.")
    advisor_id: str | None = Field(description="Advisor.")
    inviter_id: str | None = Field(description="Who invited the customer.")
    joined_at: str | None = Field(description="Member since, UTC.")
    invited: int = Field(description="Customers who name this one as inviter, until the release.")
    notes: list[str] = Field(description="Where the numbers stand on less than they should, and why.")


def profile_or_why(models: Models | None, state: CustomerState, now: int) -> tuple[ProfileOut | None, str]:
    """Return the profile of a customer at this moment (UTC µs), or none and the reason in a sentence."""
    if state.status is Status.off:
        return None, SWITCHED_OFF
    if models is None:
        return None, NO_RELEASE
    if not state.knows_words:
        return None, NOT_KNOWN_YET
    return profile_now(models, state, now), ""


def profile_now(models: Models, state: CustomerState, now: int) -> ProfileOut:
    """Return the profile of a customer whose history may be read, at this moment (UTC µs)."""
    # As in a decision: a clock that runs ahead must not hide what was acknowledged.
    tails = {kind: state.history(kind, models.items_of(kind).ids.idx, models.timezone) for kind in ItemKind}
    tails = {kind: replace(tail, at=np.minimum(tail.at, now - 1)) for kind, tail in tails.items()}
    person = models.person((state.customer_id, *state.other_ids))
    lead, also = (person[0], person[1:]) if person else (-1, ())
    query = models.query(lead, now, tails[ItemKind.product], also=also, others=tails)
    part = models.part(LifecycleModel)
    life = life_of(part, models.histories, query, about_known(models, state), _bare(state, now))
    whole = told(next(profiles_of(part, Lives.of([life]), now)))
    channels = [one | {"last_at": iso(one["last_at"])} for one in whole["channels"]]
    joined_at = whole["joined_at"] if whole["joined_at"] is None else iso(whole["joined_at"])
    return ProfileOut.model_validate(whole | {"channels": channels, "joined_at": joined_at})


def about_known(models: Models, state: CustomerState) -> About:
    """Return what the shop told of a customer: live, else as trained, else the same of another id of his."""
    own, *others = (
        models.customer_row(models.customers.ids.idx(name)) for name in (state.customer_id, *state.other_ids)
    )
    return about_first((state.attributes, own, state.attributes_of_others, *others))


def _bare(state: CustomerState, now: int) -> Trail:
    return bare_trail([(min(row.at, now - 1), int(row.kind)) for row in decode_rows(state.tail) if not row.item_id])
