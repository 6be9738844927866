"""A toy shop whose bundles are known: vacuum and bags, tea and cup go together; bread is in every basket."""

from collections.abc import Mapping, Sequence
from typing import Any

from features.dataset import Dataset
from models.bundles.wishes import BundleWishes
from models.slate import Request, Slate
from models.trained import Models
from tests import serving, worlds
from training.fit import fit_parts

PRODUCTS = [
    {"product_id": "vacuum", "title": "robot vacuum 扫地机", "category": "home/vacuums", "price": 900.0, "cost": 600.0},
    {"product_id": "bags", "title": "dust bags 尘袋", "category": "home/bags", "price": 20.0, "cost": 5.0},
    {"product_id": "mop", "title": "flat mop 拖把", "category": "home/mops", "price": 60.0, "cost": 30.0},
    {"product_id": "purifier", "title": "air purifier 净化器", "category": "home/purifiers", "price": 300.0,
     "cost": 290.0},
    {"product_id": "tea", "title": "green tea 绿茶", "category": "drinks/tea", "price": 10.0, "cost": 4.0},
    {"product_id": "tea-rare", "title": "white tea 白茶", "category": "drinks/tea", "price": 30.0, "cost": 12.0},
    {"product_id": "cup", "title": "glass cup 玻璃杯", "category": "kitchen/cups", "price": 15.0, "cost": 5.0},
    {"product_id": "cup-large", "title": "glass cup large 玻璃杯", "category": "kitchen/cups", "price": 25.0,
     "cost": 9.0},
    {"product_id": "honey", "title": "honey 蜂蜜", "category": "food/honey", "price": 12.5},
    {"product_id": "bread", "title": "rye bread 面包", "category": "food/bread", "price": 3.0, "cost": 1.0},
    {"product_id": "lamp", "title": "desk lamp 台灯", "category": "home/lamps", "price": 40.0, "cost": 20.0},
]  # fmt: skip
SCENARIO = {
    "name": "clean-home", "when": ["home/vacuums"], "theme": "cleaning", "zh": "洁净之家", "en": "a clean home",
    "roles": [{"name": "wiping", "of": ["home/mops"]}, {"name": "air", "of": ["purifier"], "optional": True}],
}  # fmt: skip


def baskets() -> list[tuple[Any, ...]]:
    """Rows of `worlds.events`: baskets of what goes together and of things alone, with bread in each."""
    kinds = [(("vacuum", "bags"), 12), (("tea", "cup"), 12), (("tea", "cup", "cup-large"), 4), (("tea", "honey"), 8),
             (("lamp",), 10), (("mop",), 6)]  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    number = 0
    for held, times in kinds:
        for _ in range(times):
            number += 1
            rows += [(f"c{number}", item, number % 30, "purchase", f"o{number}") for item in (*held, "bread")]
    return rows


def dataset(bundles: Sequence[Mapping[str, Any]] = (), more: Sequence[tuple[Any, ...]] = ()) -> Dataset:
    return worlds.world([*baskets(), *more], products=PRODUCTS, bundles=bundles, as_of=60)


def fitted(
    bundles: Sequence[Mapping[str, Any]] = (), more: Sequence[tuple[Any, ...]] = (), **settings: Any
) -> Models:  # fmt: skip
    """Everything that serves, with the part `bundles`."""
    known = dataset(bundles, more)
    return fit_parts(known, serving.fitted(known, settings={"parts": {"bundles": settings}}))


def ask(models: Models, customer: str = "", k: int = 3, basket: Sequence[str] = (), **wishes: Any) -> Slate:
    """Ask as `POST /v1/bundles` does."""
    who = models.customers.ids.idx(customer)
    wished = BundleWishes(**{"generated": "blend"} | wishes)
    front = models.storefront
    request = Request(models.query(who, models.as_of), "bundles", k, basket=front.items.idxs(basket), bundle=wished)
    return front.recommend(request)


def parts(models: Models, slate: Slate) -> list[tuple[str, ...]]:
    """The product ids of each bundle."""
    return [tuple(models.items.text(i) for i in pick.bundle.parts) for pick in slate.picks]
