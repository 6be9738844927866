"""Settings of the part `lifecycle`: what no data can decide, each with its meaning."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LifecycleConfig(BaseModel):
    """Settings of the part `lifecycle` (`[parts.lifecycle]` of `pond.toml`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["bg_nbd", "mbg_nbd"] = Field(
        "mbg_nbd",
        description="Who still is a customer: BG/NBD, or its modified form, in which one may stop after the first "
        "purchase; the plain form calls everybody who bought once alive for ever.",
    )
    slow_quantile: float = Field(
        0.8, gt=0, lt=1, description="Silence longer than this share of the shop's gaps, in own rhythm: slipping away."
    )
    dormant_quantile: float = Field(0.9, gt=0, lt=1, description="Longer than this share of gaps: dormant.")
    lost_quantile: float = Field(0.98, gt=0, lt=1, description="Longer than this share of gaps: lost.")
    lost_alive: float = Field(0.1, ge=0, le=1, description="Dormant and less likely than this to be alive: lost too.")
    gap_prior: float = Field(2.0, gt=0, description="Gaps' worth of the shop's typical gap in a customer's rhythm.")
    loyal_days: int = Field(
        3, ge=2, description="Purchase days within a year for `loyal`, at least; more where repeat buyers have more."
    )
    interest_acts: int = Field(3, ge=1, description="Views and clicks that make who bought nothing `interested`.")
    advocate_acts: int = Field(2, ge=1, description="Shares and reviews within a year that make a buyer an advocate.")
    high_quantile: float = Field(
        0.8, gt=0, lt=1, description="Share of active buyers who are expected to spend less than a high value customer."
    )
    potential_quantile: float = Field(0.5, gt=0, lt=1, description="The same for a potential one.")
    category_depth: int = Field(2, ge=1, le=8, description="Parts of the category path that favourites are named by.")
    taste_prior: float = Field(5.0, gt=0, description="Purchases' worth of the shop's shares in a customer's taste.")
    taste_half_life_days: float = Field(365.0, gt=0, description="A purchase this old tells half as much of a taste.")
    price_prior: float = Field(3.0, gt=0, description="Lines' worth of buying at the usual prices.")
    below_usual: float = Field(0.95, gt=0, lt=1, description="Paid at most this share of the usual price: discounted.")
    max_favourites: int = Field(5, ge=1, le=50, description="Favourites, channels and hours that are named, at most.")
