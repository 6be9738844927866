"""Do the parts of a bundle go together later? Bundles made from the past of a shop, judged by its later baskets.

`python -m benchmarks.quality.together --home HOME --shop SHOP --out FILE.json [--picture FILE.svg]`

The shop's baskets are cut in time (80 % / 20 %). Everything is learned from the first part. For each of a sample of
products ("anchors") the first bundle around it is looked at in the later baskets that hold the anchor: how many of them
hold an added part too (hit), how many would by chance (a part that everybody buys is hit without any bundle), and the
difference (excess): what the bundle knows. Beside it, as many partners by two simple rules, variants of the anchor left
out for them too: the products most often bought together with the anchor, and the most popular ones.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.quality.together_picture import draw_bars
from features.dataset import Dataset, build_dataset
from features.history import DAY_US
from features.lake import Lake
from features.shop import open_shop
from models.bundles.model import BundleConfig, BundleModel
from models.bundles.pairs import base_share, basket_matrix, chance_of, fit_pairs
from models.bundles.shelf import BundleShelf
from models.bundles.space import ProductSpace
from models.bundles.table import BundleTable
from models.bundles.wishes import BundleWishes
from models.items import ItemTable
from models.query import Query
from models.recommenders.content_based import ContentBasedConfig, fit_content_based
from models.slate import Pick, Request

KNOWN_SHARE = 0.8
ANCHORS = 500
STRATA = {"often bought (50 or more)": (50, 10**9), "seldom bought (5 to 49)": (5, 50)}
LEAST_LATER = 5
PARTNERS = 2
Rule = Callable[[int], list[int]]


@dataclass(frozen=True, eq=False)
class Past:
    """What is known at the cut, and what makes bundles of it."""

    cut: int
    shelf: BundleShelf
    items: ItemTable
    baskets: sp.csr_array

    def bundles(self, anchor: int | None, k: int) -> list[Pick]:
        """Return bundles around a product, or around none; no fallbacks."""
        wishes = BundleWishes(item_ids=() if anchor is None else (self.items.text(anchor),), generated="blend")
        slate = self.shelf.recommend(Request(Query(self.cut, self.cut), "bundles", k, bundle=wishes), self.items)
        return [pick for pick in slate.picks if not pick.stage.startswith("fallback:")]

    def others(self, ranked: np.ndarray, anchor: int) -> list[int]:
        """Return the first that are of another category than the anchor."""
        kind = self.items.category
        return [int(i) for i in ranked[:200] if kind[i] != kind[anchor]][:PARTNERS]


def main() -> None:
    """Measure and write."""
    told = _told()
    shop = open_shop(told.home, told.shop)
    whole = build_dataset(Lake(shop.lake_dir), shop.name, shop.timezone)
    cut = int(np.quantile(whole.product_events.at, KNOWN_SHARE))
    past = _learn(whole.before(cut))
    every, age_days = basket_matrix(whole, 10**6)
    later = sp.csr_array(every[np.flatnonzero(whole.as_of - age_days * DAY_US >= cut)])
    report = {
        "command": f"python -m benchmarks.quality.together --home HOME --shop {told.shop}",
        "baskets": {"known": past.baskets.shape[0], "later": later.shape[0]},
        "strata": {name: _judge(past, later, low, high) for name, (low, high) in STRATA.items()},
    }
    told.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if told.picture:
        told.picture.write_text(draw_bars(report["strata"]), "utf-8")
    print(json.dumps(report, indent=1, ensure_ascii=False))


def _told() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--shop", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


def _learn(known: Dataset) -> Past:
    words = fit_content_based(known, ContentBasedConfig(), np.random.default_rng(0))
    config = BundleConfig()
    model = BundleModel(config, pairs=fit_pairs(known, config.pairs))
    table = BundleTable.of(known.bundles.ids, known.bundles.frame)
    shelf = BundleShelf(model, table, ProductSpace.of({"content_based": words}))
    return Past(known.as_of, shelf, ItemTable.of(known.products), basket_matrix(known, 10**6)[0])


def _judge(past: Past, later: sp.csr_array, low: int, high: int) -> dict[str, Any]:
    bought, again = (np.asarray(held.sum(axis=0)).ravel() for held in (past.baskets, later))
    fit = np.flatnonzero((bought >= low) & (bought < high) & (again >= LEAST_LATER))
    anchors = sorted(np.random.default_rng(0).choice(fit, min(ANCHORS, len(fit)), replace=False).tolist())
    by_item, popular = sp.csr_array(past.baskets.T.tocsr()), np.argsort(-bought, kind="stable")
    by_chance = base_share(again / later.shape[0], chance_of(later, np.ones(later.shape[0])))

    def in_bundle(anchor: int) -> list[int]:
        picks = past.bundles(anchor, 1)
        return [part for part in picks[0].bundle.parts if part != anchor] if picks and picks[0].bundle else []

    def co_bought(anchor: int) -> list[int]:
        count = np.asarray((by_item[[anchor]] @ past.baskets).todense()).ravel()
        return past.others(np.argsort(-count, kind="stable"), anchor)

    systems: dict[str, Rule] = {
        "Pond's bundle": in_bundle, "most co-bought": co_bought, "most popular": lambda a: past.others(popular, a),
    }  # fmt: skip
    held = sp.csr_array(later.T.tocsr())
    return {name: _figures(rule, anchors, held, by_chance) for name, rule in systems.items()}


def _figures(rule: Rule, anchors: list[int], held: sp.csr_array, by_chance: np.ndarray) -> dict[str, float]:
    hit, chance = np.zeros(len(anchors)), np.zeros(len(anchors))
    n_with = 0
    for row, anchor in enumerate(anchors):
        added = rule(anchor)
        n_with += bool(added)
        if added:
            mine = held[[anchor]]
            hit[row] = float((held[added] @ mine.T).sum()) / mine.nnz / len(added)
            chance[row] = float(by_chance[added].mean())
    excess, rng = hit - chance, np.random.default_rng(0)
    means = [excess[rng.integers(0, len(excess), len(excess))].mean() for _ in range(1000)]
    return {
        "anchors": len(anchors), "with_bundle": n_with, "hit": round(float(hit.mean()), 4),
        "by_chance": round(float(chance.mean()), 4), "excess": round(float(excess.mean()), 4),
        "excess_low": round(float(np.quantile(means, 0.025)), 4),
        "excess_high": round(float(np.quantile(means, 0.975)), 4),
        "times_chance": round(float(hit.mean() / chance.mean()), 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
