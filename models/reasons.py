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


class Days(int):
    """A number of days; `{gap:days}` writes "1 day" or "9 days", `{gap}` the number alone."""

    def __format__(self, spec: str) -> str:
        """Write it with its English word, or as a number."""
        return f"{int(self)} day{'' if self == 1 else 's'}" if spec == "days" else format(int(self), spec)


_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "bought_before": ("您买过 {n} 次,上次在 {days} 天前", "You bought this {n} times, last {days:days} ago"),
    "bought_once": ("您在 {days} 天前买过", "You bought this {days:days} ago"),
    "bought_today": ("您今天买过", "You bought this today"),
    "bought_often": ("您最近 {of} 次购物中有 {n} 次买了它", "In {n} of your last {of} baskets"),
    "often_and_due": (
        "您最近 {of} 次购物中有 {n} 次买了它,大约每 {gap} 天一次,现在差不多该补了",
        "In {n} of your last {of} baskets, about every {gap:days}: about due now",
    ),
    "due": ("您大约每 {gap} 天买一次,现在差不多该补了", "You buy this about every {gap:days}: about due now"),
    "overdue": (
        "您大约每 {gap} 天买一次,距上次已有 {days} 天",
        "You buy this about every {gap:days}; the last time was {days:days} ago",
    ),
    "due_for_most": (
        "多数顾客约 {gap} 天后再买,您上次购买在 {days} 天前",
        "Most buy this again after about {gap:days}; you last did {days:days} ago",
    ),
    "category_habit": ("您常买「{category}」", "You often buy “{category}”"),
    "rebought": ("{percent}% 的买家又买过", "{percent} % of its buyers have bought it again"),
    "trending": (
        "本周热销,占全店销量的比例较近四周高 {percent}%",
        "Selling well this week: its share of sales is {percent} % above that of four weeks",
    ),
    "brand_habit": ("您常买「{brand}」", "You often buy {brand}"),
    "price_down": ("近期成交价比平时低 {percent}%", "Lately sold {percent} % below its usual price"),
    "member_price": ("会员价省 {percent}%", "Members pay {percent} % less"),
    "like_members": ("与您同类的顾客更常买", "Customers like you buy this more than others do"),
    "price_level": ("价位与您平时买的相近", "Priced like what you usually buy"),
    "because_of": ("买过「{title}」的顾客也常买", "Often bought together with “{title}”"),
    "like_you": ("与您口味相近的顾客喜欢", "Customers with tastes like yours choose this"),
    "goes_with": ("与「{title}」搭配", "Goes with “{title}”"),
    "similar_to": ("与「{title}」相似", "Similar to “{title}”"),
    "similar": ("内容与您关注的商品相近", "Close to what you look at"),
    "next_basket": ("根据您的购物节奏推荐", "Fits the rhythm of your shopping"),
    "popular": ("近期热销", "Popular right now"),
    "popular_before": ("店内热门", "Popular in this shop"),
    "popular_segment": ("与您同类的顾客近期常买", "Popular with customers like you"),
    "new": ("新品上架", "Newly arrived"),
    "content_popular": ("近期很多人在看", "Many are reading this now"),
    "content_new": ("最新发布", "Just published"),
    "content_live": ("正在直播", "Live now"),
    "content_live_soon": ("直播即将开始(约 {hours} 小时后)", "Live soon, in about {hours} h"),
    "content_product": ("讲到您关注的「{title}」", "About “{title}”, which you look at"),
    "content_products": ("讲到您关注的商品", "About a product you look at"),
    "content_stage": ("适合您现在的阶段", "Made for where you are now"),
    "content_alike": ("与您看过的「{title}」相似", "Similar to “{title}”, which you read"),
    "content_like_you": ("与您兴趣相近的顾客在看", "Read by customers with tastes like yours"),
    "content_more": ("更多内容", "More from this shop"),
    "bundle_popular": ("近期热卖的套购", "A bundle many buy lately"),
    "bundle_composed": ("几件商品组成的套购", "Several products as one offer"),
    "bundle_offered": ("店铺精选套购", "A bundle chosen by the shop"),
    "audience_bought_today": ("买过 {n} 次,上次就在今天", "Bought it {n} times, last today"),
    "audience_bought": ("买过 {n} 次,上次在 {days} 天前", "Bought it {n} times, last {days:days} ago"),
    "audience_looked": ("近期看过或加购过", "Looked at it lately"),
    "audience_category": ("常买同类商品", "Buys its category"),
    "audience_alike": ("兴趣与它的买家相近", "Interests like those of its buyers"),
    "audience_active": ("近期常来", "Shops often"),
    "group_shared": ("群里约 {percent}% 的成员可能喜欢", "Fits about {percent} % of this group"),
    "bundle_together": (
        "买「{a}」的订单中 {percent}% 也有「{b}」,约为随机情况的 {times} 倍",
        "{percent} % of orders with “{a}” hold “{b}” too, {times} times as many as by chance",
    ),
    "bundle_kinds": (
        "买「{a}」这类商品时,常一起买「{b}」这类",
        "Things like “{a}” are often bought together with things like “{b}”",
    ),
    "bundle_rule": ("店铺搭配:{zh}", "Put together by the shop: {en}"),
    "bundle_holds": ("含「{title}」的套购", "A bundle with “{title}” in it"),
    "bundle_of_yours": ("含您买过的「{title}」", "With “{title}”, which you have bought"),
    "pinned": ("店铺推荐", "Recommended by the shop"),
    "explore": ("换换口味,发现新选择", "Something different to try"),
    "fallback_any": ("暂无更贴切的推荐,看看店里的商品", "Nothing more personal yet: from the shop's range"),
    "fallback_popular": ("暂无更贴切的推荐,先看看热销商品", "Nothing more personal yet: popular right now"),
    "fallback_popular_before": ("暂无更贴切的推荐,先看看店内热门", "Nothing more personal yet: popular in this shop"),
}


def reason(code: str, **fields: object) -> Reason:
    """Return the reason of that code with its words filled in."""
    zh, en = _WORDS[code]
    return Reason(code, zh.format(**fields), en.format(**fields))
