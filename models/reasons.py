"""Why an item is shown: a stable code and words in Chinese and English (PRODUCT.md, G4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason a person can read; `code` is stable and may be counted."""

    code: str
    zh: str
    en: str


_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "bought_before": ("您买过 {n} 次,上次在 {days} 天前", "You bought this {n} times, last {days} days ago"),
    "bought_once": ("您在 {days} 天前买过", "You bought this {days} days ago"),
    "bought_today": ("您今天买过", "You bought this today"),
    "because_of": ("买过「{title}」的顾客也常买", "Often bought together with “{title}”"),
    "like_you": ("与您口味相近的顾客喜欢", "Customers with tastes like yours choose this"),
    "similar_to": ("与「{title}」相似", "Similar to “{title}”"),
    "similar": ("内容与您关注的商品相近", "Close to what you look at"),
    "next_basket": ("根据您的购物节奏推荐", "Fits the rhythm of your shopping"),
    "popular": ("近期热销", "Popular right now"),
    "popular_segment": ("与您同类的顾客近期常买", "Popular with customers like you"),
    "new": ("新品上架", "Newly arrived"),
    "pinned": ("店铺推荐", "Recommended by the shop"),
    "explore": ("换换口味,发现新选择", "Something different to try"),
    "fallback_popular": ("暂无更贴切的推荐,先看看热销商品", "Nothing more personal yet: popular right now"),
}


def reason(code: str, **fields: object) -> Reason:
    """Return the reason of that code with its words filled in."""
    zh, en = _WORDS[code]
    return Reason(code, zh.format(**fields), en.format(**fields))
