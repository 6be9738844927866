"""What the rules of stage, layer and tags are asked about: numbers of one customer, and the shop's thresholds."""

from dataclasses import dataclass

from models.lifecycle.config import LifecycleConfig
from models.lifecycle.rhythm import Silence
from models.reasons import Days


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the shop's own data decided, at the last training.

    Attributes
    ----------
    silence : Silence
    loyal_days : int
        Purchase days within a year that half of the customers who came back have, at least the configured ones.
    high_value, potential_value : float
        What active buyers are expected to spend in 90 days (or buy, where prices are unknown), at the configured
        quantiles; infinite where there are none.
    in_purchases : bool
        Whether value is counted in purchase days, because most lines have no price.
    discount_rate : float
        Share of all lines below the usual price.
    """

    silence: Silence
    loyal_days: int
    high_value: float
    potential_value: float
    in_purchases: bool
    discount_rate: float


@dataclass(frozen=True, slots=True)
class Facts:
    """The numbers of one customer at a moment; days are whole days of the shop.

    Attributes
    ----------
    n_days, year_days : int
        Purchase days, ever and within 365 days.
    since_days, act_days : int or None
        Days since the last purchase and since the last act of his own; None: never.
    first_days : int or None
        Days since the first purchase.
    gap_days : float
        His typical gap, shrunk towards the shop's.
    p_alive, value_90 : float
        Probability that he still is a customer, and what he is expected to spend (or buy) in 90 days; 0 without
        a purchase.
    """

    n_days: int
    year_days: int
    since_days: int | None
    first_days: int | None
    act_days: int | None
    gap_days: float
    p_alive: float
    value_90: float
    baskets: int
    lines: int
    discounted: int
    price_level: float | None
    n_acts: int
    n_strong: int
    n_contacts: int
    year_praise: int
    n_invited: int
    is_told: bool
    has_unsubscribed: bool
    has_left_groups: bool
    evening_share: float
    weekend_share: float
    n_channels: int

    @property
    def slowness(self) -> float:
        """Silence in multiples of what is usual for him: since the last purchase, or the last act of who never bought.

        Who never did anything is not silent: 0.
        """
        since = self.since_days if self.n_days else self.act_days
        return 0.0 if since is None else since / self.gap_days

    def discount_share(self, rate: float, prior: float) -> float:
        """Share of lines below the usual price, shrunk towards the shop's `rate`."""
        return (self.discounted + prior * rate) / (self.lines + prior)


@dataclass(frozen=True, slots=True)
class Case:
    """One customer before the rules."""

    facts: Facts
    shop: Thresholds
    config: LifecycleConfig

    @property
    def is_lost(self) -> bool:
        """Silent beyond nearly all gaps; or beyond most, and hardly a customer any more by BG/NBD."""
        if self.facts.slowness > self.shop.silence.lost:
            return True
        return self.is_silent and bool(self.facts.n_days) and self.facts.p_alive < self.config.lost_alive

    @property
    def is_silent(self) -> bool:
        """Silent beyond most gaps: dormant, or lost."""
        return self.facts.slowness > self.shop.silence.dormant

    @property
    def is_slow(self) -> bool:
        """Silent for longer than usual, not yet dormant."""
        return not self.is_silent and self.facts.slowness > self.shop.silence.slow

    @property
    def is_advocate(self) -> bool:
        """Speaks for the shop: invited somebody, or shares and reviews."""
        return self.facts.n_invited > 0 or self.facts.year_praise >= self.config.advocate_acts

    @property
    def is_interested(self) -> bool:
        """Put something into the cart or among the favorites, or looks around."""
        return self.facts.n_strong > 0 or self.facts.n_acts >= self.config.interest_acts

    @property
    def words(self) -> dict[str, object]:
        """The numbers that reasons are worded with."""
        facts, silence = self.facts, self.shop.silence
        since = facts.since_days if facts.n_days else facts.act_days
        # A threshold is worded in whole days: the silence that is still within it.
        return {
            "n": Days(facts.n_days), "year": Days(facts.year_days), "days": Days(since or 0),
            "ago_zh": f"{since} 天前" if since else "今天", "ago_en": f"{Days(since):days} ago" if since else "today",
            "gap": max(round(facts.gap_days), 1),
            "slow": int(silence.slow * facts.gap_days), "dormant": int(silence.dormant * facts.gap_days),
            "lost": int(silence.lost * facts.gap_days), "alive": round(100 * facts.p_alive),
            "dormant_share": round(100 * self.config.dormant_quantile), "loyal": self.shop.loyal_days,
            "lost_share": round(100 * self.config.lost_quantile), "acts": facts.n_acts, "praise": facts.year_praise,
            "slow_share": round(100 * self.config.slow_quantile),
            "invited": facts.n_invited, "value": _amount(facts.value_90), "high": _amount(self.shop.high_value),
            "potential": _amount(self.shop.potential_value),
            "unit_zh": "次" if self.shop.in_purchases else "(店铺货币)",
            "unit_en": "purchases" if self.shop.in_purchases else "in the shop's currency",
            "top_high": round(100 * (1 - self.config.high_quantile)),
            "top_potential": round(100 * (1 - self.config.potential_quantile)),
        }  # fmt: skip


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
