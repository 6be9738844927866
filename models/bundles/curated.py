"""The shop's own bundles for one request: which may be made now, in which order, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from features.arrays import Bools, Float64s, Int32s
from models.bundles.affinity import Judged
from models.bundles.links import LinkFinder
from models.bundles.model import BundleModel
from models.bundles.offers import Admission, Offer, priced
from models.bundles.table import BundleTable
from models.bundles.terms import Terms
from models.items import ItemTable
from models.query import NO_ITEMS
from models.reasons import Reason, reason
from models.slate import Request, steered

CURATED: Final = "curated"
POPULAR: Final = "popular"
MOST_TRIED: Final = 500  # candidates that are looked at for the one nearest to a price
NEAR: Final = 200  # bundles looked at that lie nearest to what is asked about, beside those that hold it


@dataclass(frozen=True, eq=False)
class Curator:
    """Finds the shop's bundles for one request."""

    model: BundleModel
    table: BundleTable
    finder: LinkFinder
    request: Request
    items: ItemTable
    admission: Admission
    terms: Terms

    def offers(self, n: int) -> list[Offer]:
        """Return up to n, the best first; nearest to a price that is aimed at before all."""
        order, worth, stage = self._ordered()
        found: list[Offer] = []
        for idx in (order if self.terms.aim is None else order[:MOST_TRIED]).tolist():
            if len(found) == n and self.terms.aim is None:
                break
            offer = self.offer(idx, float(worth[idx]), stage)
            found += [offer] if offer is not None else []
        return sorted(found, key=lambda one: one.distance)[:n]

    def offer(self, idx: int, worth: float, stage: str) -> Offer | None:
        """Return one bundle as an offer, None when it may not be made now."""
        bundle = self.table.bundles[idx]
        if bundle is None or self.table.ids.text(idx) in self.request.bundle.exclude:
            return None
        if not self._may_show(np.array([idx], np.int32))[0]:
            return None
        if not self.table.showable(np.array([idx], np.int32), self.items, self.request.query.at)[0]:
            return None
        parts = self.table.parts(idx, self.items)
        evidence = self._evidence(idx, worth, stage)
        details = priced(parts.tolist(), self.items, (), evidence, bundle.price, self.terms.discount)
        price = details.price
        if not (self.admission.of(parts).all() and self.admission.affords(price)):
            return None
        if not self.terms.allow(len(parts), price, details.margin):
            return None
        return Offer(idx, "", worth, self.terms.distance(price), stage, self._why(parts, evidence, stage), details)

    def _ordered(self) -> tuple[Int32s, Float64s, str]:
        """Return candidates best first, the worth of all bundles [n], and the stage."""
        wishes, anchors = self.request.bundle, self._anchors
        affinity = self._judged.score.astype(np.float64)
        every = np.arange(len(self.table), dtype=np.int32)
        every = every[self._may_show(every)]
        if wishes.theme:
            every = np.array([i for i in every.tolist() if self.table.is_of_theme(i, wishes.theme)], np.int32)
        worth = np.where(np.isnan(affinity), 0.0, affinity)
        if not len(anchors) and not wishes.item_ids:
            is_personal = len(self.request.query.history) or len(self.request.query.bundles)
            sure = every[np.lexsort((every, -worth[every], np.isnan(affinity[every])))]
            return self._steered(sure), worth, CURATED if wishes.theme or is_personal else POPULAR
        near = self._near(anchors, every)
        fit = np.array([self._fit(i, anchors) for i in near.tolist()])
        worth = np.zeros(len(self.table))
        worth[near] = fit
        near = near[fit > 0]
        return self._steered(near[np.lexsort((near, -affinity[near], -worth[near]))]), worth, CURATED

    def _may_show(self, bundle_idx: Int32s) -> Bools:
        """Which bundles neither the caller nor an operator's rule takes away: bool [n]."""
        keep: Bools = ~np.isin(bundle_idx, self.request.exclude)
        return keep & self.request.steering.allows(bundle_idx) if self.request.steering.rules else keep

    def _steered(self, order: Int32s) -> Int32s:
        return steered(replace(self.request, pins=NO_ITEMS), order)

    @property
    def _anchors(self) -> Int32s:
        wishes = self.request.bundle
        return self.items.idxs(wishes.item_ids) if wishes.item_ids else self.request.basket

    def _near(self, anchors: Int32s, among: Int32s) -> Int32s:
        """Bundles that hold an anchor, or that lie nearest to all of them, or that came after training."""
        holding = [i for anchor in anchors.tolist() for i in self.table.holding(self.items.text(anchor))]
        direction = self.finder.space.mean(anchors)
        rows = NO_ITEMS
        if self.model.index.n_items and self.model.index.dim == len(direction) and direction.any():
            rows = self.model.index.search(direction, NEAR)[0].astype(np.int32)
        came = np.arange(self.model.index.n_items, len(self.table), dtype=np.int32)
        return np.intersect1d(np.concatenate([np.array(holding, np.int32), rows, came]), among).astype(np.int32)

    def _fit(self, idx: int, anchors: Int32s) -> float:
        """How well a bundle fits what is asked about: a held anchor counts 1, the rest its pull."""
        parts = self.table.parts(idx, self.items)
        if self.request.bundle.item_ids:
            held = int(np.isin(anchors, parts).sum())
            wanted = int((~np.isin(anchors, self.admission.just_bought)).sum())
            if held < wanted:  # "around a product" is a promise that the product is in it
                return 0.0
        others = parts[~np.isin(parts, anchors)]
        pull = float(self.finder.links(anchors, others).pull.sum(axis=0).mean()) if len(others) else 0.0
        return pull + float(np.isin(anchors, parts).sum())

    @cached_property
    def _judged(self) -> Judged:
        return self.model.affinity.judge(self.request.query, self.table, self.items)

    def _evidence(self, idx: int, worth: float, stage: str) -> dict[str, float]:
        """Return what speaks for a bundle: its sales where it is shown for them, else what it is to the customer."""
        if stage == POPULAR:
            return {"sold": round(worth, 2)} if worth > 0 else {}
        return self._judged.evidence(idx)

    def _why(self, parts: Int32s, evidence: Mapping[str, float], stage: str) -> Reason:
        if stage == POPULAR and evidence:
            return reason("bundle_popular")
        bought = self.request.query.history.purchases.item_idx
        for start, code in ((self._anchors, "bundle_holds"), (bought[::-1], "bundle_of_yours")):
            held = start[np.isin(start, parts)]
            if len(held) and self.items.titles[int(held[0])]:
                return reason(code, title=self.items.titles[int(held[0])])
        if self._anchors.size:
            return reason("bundle_offered")
        if "leads_here" in evidence:
            return reason("like_you")
        return reason("bundle_popular" if "sold" in evidence else "bundle_offered")
