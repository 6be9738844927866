"""Derived tags: short words about a customer, each with its rule (K1, 行为标签); the shop's own tags stand beside."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from models.lifecycle.facts import Case

LEAST_LINES: Final = 5  # purchase lines before prices are a habit
LEAST_ACTS: Final = 10  # acts before hours are one


@dataclass(frozen=True, slots=True)
class Tag:
    """A derived tag: a stable code, its words and its rule in Chinese and English."""

    code: str
    zh: str
    en: str
    rule_zh: str
    rule_en: str


@dataclass(frozen=True, slots=True)
class TagRule:
    """A tag and when it holds."""

    tag: Tag
    holds: Callable[[Case], bool]


def _discount_share(case: Case) -> float:
    return case.facts.discount_share(case.shop.discount_rate, case.config.price_prior)


def _level(case: Case) -> float:
    return case.facts.price_level or 1.0


def _has_lines(case: Case) -> bool:
    return case.facts.lines >= LEAST_LINES


def _has_acts(case: Case) -> bool:
    return case.facts.n_acts >= LEAST_ACTS


TAG_RULES: Final = (
    TagRule(
        Tag("new_customer", "新客", "new customer", "首次购买在 30 天内", "first purchase within 30 days"),
        lambda case: case.facts.first_days is not None and case.facts.first_days <= 30,
    ),
    TagRule(
        Tag("bought_once", "只买过一次", "bought once", "只在一天购买过", "purchases on one day only"),
        lambda case: case.facts.n_days == 1,
    ),
    TagRule(
        Tag("regular", "老顾客", "regular", "在 3 天以上购买过", "purchases on three days or more"),
        lambda case: case.facts.n_days >= 3,
    ),
    TagRule(
        Tag(
            "slipping", "即将流失", "slipping away", "沉默已超过 {slow_share}% 的间隔(按自己的节奏),但尚未沉睡",
            "silent for longer than {slow_share} % of gaps, in own rhythm, but not dormant",
        ),
        lambda case: case.facts.n_days > 0 and case.is_slow,
    ),
    TagRule(
        Tag(
            "discount_seeker", "价格敏感", "buys on discount", "至少 5 件商品,一半以上低于平时价,且高于全店的 1.25 倍",
            "five lines or more, over half of them below the usual price and over 1.25 times the shop's share",
        ),
        lambda case: _has_lines(case) and _discount_share(case) >= max(0.5, min(1.25 * case.shop.discount_rate, 0.95)),
    ),
    TagRule(
        Tag(
            "full_price", "不看折扣", "buys at full price", "至少 5 件商品,低于平时价的不到全店比例的一半",
            "five lines or more, with less than half of the shop's share below the usual price",
        ),
        lambda case: _has_lines(case) and _discount_share(case) < 0.5 * case.shop.discount_rate,
    ),
    TagRule(
        Tag(
            "premium", "高端", "buys the dearer", "至少 5 件商品,价格比同类平均高 20% 以上",
            "five lines or more, 20 % above the prices of their categories",
        ),
        lambda case: _has_lines(case) and _level(case) >= 1.2,
    ),
    TagRule(
        Tag(
            "thrifty", "实惠", "buys the cheaper", "至少 5 件商品,价格比同类平均低 20% 以上",
            "five lines or more, 20 % below the prices of their categories",
        ),
        lambda case: _has_lines(case) and _level(case) <= 0.8,
    ),
    TagRule(
        Tag(
            "evening", "夜间活跃", "active in the evening", "一半以上的活跃时段在 20 点到次日 2 点",
            "over half of the active hours from 20 h to 2 h",
        ),
        lambda case: _has_acts(case) and case.facts.evening_share > 0.5,
    ),
    TagRule(
        Tag(
            "weekend", "周末活跃", "active at weekends", "一半以上的活跃时段在周末",
            "over half of the active hours on Saturday and Sunday",
        ),
        lambda case: _has_acts(case) and case.facts.weekend_share > 0.5,
    ),
    TagRule(
        Tag("many_channels", "多渠道", "uses several channels", "至少使用 3 个渠道", "came by three channels or more"),
        lambda case: case.facts.n_channels >= 3,
    ),
    TagRule(
        Tag("inviter", "带来新客", "brings others", "有顾客把他列为邀请人", "another customer names him as inviter"),
        lambda case: case.facts.n_invited > 0,
    ),
    TagRule(
        Tag("no_messages", "已退订", "unsubscribed", "退订之后没有再互动", "unsubscribed, and did nothing since"),
        lambda case: case.facts.has_unsubscribed,
    ),
    TagRule(
        Tag("left_group", "退群", "left a group", "退出的群比加入的多", "left more groups than are known to be joined"),
        lambda case: case.facts.has_left_groups,
    ),
)  # fmt: skip


def derived_tags(case: Case) -> tuple[Tag, ...]:
    """Return the tags that hold, in the order of the rules."""
    return tuple(_worded(rule.tag, case) for rule in TAG_RULES if rule.holds(case))


def _worded(tag: Tag, case: Case) -> Tag:
    words = case.words
    return replace(tag, rule_zh=tag.rule_zh.format(**words), rule_en=tag.rule_en.format(**words))
