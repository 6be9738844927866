"""Lifecycle stage and value layer: rules stated once, as data; the first that holds decides (PRODUCT.md, K2).

`docs/guides/customers.md` shows them as a table; a test compares the two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from models.lifecycle.facts import Case
from models.reasons import Reason

STRANGER: Final = "stranger"
STAGES: Final = (STRANGER, "aware", "interested", "buyer", "loyal", "advocate", "dormant", "lost")
LAYERS: Final = ("high_value", "potential", "ordinary", "sleeping")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it gives, when, and how it is said of a customer.

    Attributes
    ----------
    gives : str
        A stage, or a layer.
    code : str
        Stable name of the reason.
    holds : callable
    rule : str
        The rule in general words, for the guide.
    zh, en : str
        The reason in a customer's numbers (`Case.words`).
    """

    gives: str
    code: str
    holds: Callable[[Case], bool]
    rule: str
    zh: str
    en: str

    def reason(self, case: Case) -> Reason:
        """Return the reason with the customer's numbers."""
        words = case.words
        return Reason(self.code, self.zh.format(**words), self.en.format(**words))


def _has_bought(case: Case) -> bool:
    return case.facts.n_days > 0


def _anybody(case: Case) -> bool:  # noqa: ARG001 - whoever is left
    return True


STAGE_RULES: Final = (
    Rule(
        "lost", "silent_too_long", lambda case: _has_bought(case) and case.is_lost,
        "bought before, and silent for longer than nearly all gaps of the shop's customers (98 %), each measured in "
        "the customer's own rhythm; or dormant, and alive with less than 10 %",
        "已 {days} 天没有购买;平时约 {gap} 天一次,{lost_share}% 的回购在 {lost} 天内;仍是顾客的可能性 {alive}%",
        "No purchase for {days:days}; usually one in about {gap}, and {lost_share} % of those who come back do within "
        "{lost}; still a customer with {alive} %",
    ),
    Rule(
        "dormant", "silent_for_long", lambda case: _has_bought(case) and case.is_silent,
        "bought before, and silent for longer than most gaps (90 %), in own rhythm",
        "已 {days} 天没有购买;平时约 {gap} 天一次,{dormant_share}% 的回购在 {dormant} 天内",
        "No purchase for {days:days}; usually one in about {gap}, and {dormant_share} % of those who come back do "
        "within {dormant}",
    ),
    Rule(
        "advocate", "invites", lambda case: _has_bought(case) and case.facts.n_invited > 0,
        "active buyer whom another customer names as inviter",
        "在 {n} 天买过,并带来了 {invited} 位新顾客", "Bought on {n:days}; brought new customers: {invited}",
    ),
    Rule(
        "advocate", "speaks_for_us", lambda case: _has_bought(case) and case.is_advocate,
        "active buyer with two shares or reviews within a year",
        "在 {n} 天买过,近一年分享或评价 {praise} 次",
        "Bought on {n:days}; shares and reviews within a year: {praise}",
    ),
    Rule(
        "loyal", "comes_back", lambda case: case.facts.year_days >= case.shop.loyal_days,
        "active, with as many purchase days within a year as half of those who ever came back, at least 3",
        "近一年有 {year} 天购买,不少于回头客的中位数 {loyal} 天",
        "Bought on {year:days} within a year; half of those who come back have {loyal} or more",
    ),
    Rule(
        "buyer", "has_bought", _has_bought, "bought, and none of the above",
        "在 {n} 天买过,上次购买:{ago_zh}", "Bought on {n:days}, last {ago_en}",
    ),
    Rule(
        "lost", "interest_gone", lambda case: case.facts.n_acts > 0 and case.is_lost,
        "never bought, and no act of his own for longer than nearly all gaps",
        "从未购买,已 {days} 天没有任何互动", "Never bought; no sign of interest for {days:days}",
    ),
    Rule(
        "dormant", "interest_faded", lambda case: case.facts.n_acts > 0 and case.is_silent,
        "never bought, and no act of his own for longer than most gaps",
        "从未购买,已 {days} 天没有互动", "Never bought; no sign of interest for {days:days}",
    ),
    Rule(
        "interested", "looks_around", lambda case: case.is_interested,
        "something in the cart or among the favorites, or three views and clicks",
        "还没有购买,有 {acts} 次浏览、收藏或加购,最近一次:{ago_zh}",
        "Has not bought yet; views, favorites and carts: {acts}, last {ago_en}",
    ),
    Rule(
        "aware", "has_met_us", lambda case: case.facts.n_acts + case.facts.n_contacts > 0 or case.facts.is_told,
        "was shown or sent something, looked once, or is registered",
        "接触过店铺,还没有明显兴趣", "Knows the shop, shows no interest yet",
    ),
    Rule(
        STRANGER, "unknown", _anybody,
        "nothing is known", "还没有任何记录", "Nothing is known yet",
    ),
)  # fmt: skip

LAYER_RULES: Final = (
    Rule(
        "sleeping", "asleep", lambda case: case.is_silent and case.facts.n_acts > 0,
        "stage dormant or lost", "沉睡:{days} 天没有动静", "Asleep: nothing for {days:days}",
    ),
    Rule(
        "high_value", "spends_most",
        lambda case: case.facts.n_days > 1 and case.facts.value_90 >= case.shop.high_value,
        "bought on two days or more, and expected to spend in 90 days as much as the top fifth of active buyers",
        "预计未来 90 天消费 {value}{unit_zh},属于活跃买家的前 {top_high}%(不低于 {high})",
        "Expected to spend {value} {unit_en} in the next 90 days: among the top {top_high} % of active buyers "
        "({high} or more)",
    ),
    Rule(
        "potential", "may_spend_more",
        lambda case: _has_bought(case) and case.facts.value_90 >= case.shop.potential_value,
        "expected to spend in 90 days as much as the upper half of active buyers",
        "预计未来 90 天消费 {value}{unit_zh},高于半数活跃买家({potential})",
        "Expected to spend {value} {unit_en} in the next 90 days: more than {potential}, the middle of active buyers",
    ),
    Rule(
        "potential", "may_buy", lambda case: not case.facts.n_days and case.is_interested,
        "never bought, but interested", "还没有购买,但有明显兴趣", "Has not bought yet, but is interested",
    ),
    Rule(
        "ordinary", "spends_little", _has_bought, "bought, and none of the above",
        "预计未来 90 天消费 {value}{unit_zh}", "Expected to spend {value} {unit_en} in the next 90 days",
    ),
    Rule(
        "ordinary", "no_sign", _anybody,
        "everybody else", "还没有价值的迹象", "No sign of value yet",
    ),
)  # fmt: skip


def judged(rules: tuple[Rule, ...], case: Case) -> tuple[str, Reason]:
    """Return what the first rule that holds gives, with its reason."""
    rule = next(rule for rule in rules if rule.holds(case))
    return rule.gives, rule.reason(case)
