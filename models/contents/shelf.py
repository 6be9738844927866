"""The shelf of contents: which may be shown to whom, in which order and why (PRODUCT.md, W3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from features.arrays import Bools, Int32s
from features.columns import EventKind, ItemKind
from models.catalogued import LiveIds
from models.contents.choice import find_contents, order_contents
from models.contents.grounds import Why, grounds_of
from models.contents.model import ContentModel
from models.contents.present import Present
from models.contents.pulse import Readings, is_reading
from models.contents.signals import Reader
from models.contents.table import ContentTable
from models.items import ItemTable
from models.rank.explore import explored
from models.reasons import reason
from models.slate import Pick, Request, Slate


@dataclass(frozen=True, eq=False)
class ContentShelf:
    """What a release knows of contents, and the contents as they are now."""

    model: ContentModel
    present: Present

    @classmethod
    def of(cls, model: ContentModel, table: ContentTable) -> Self:
        """Put a release's part and its contents together."""
        return cls(model, model.present(table))

    @property
    def kind(self) -> ItemKind:
        """What it shows."""
        return ItemKind.content

    @property
    def table(self) -> ContentTable:
        """The contents."""
        return self.present.table

    @property
    def ids(self) -> LiveIds:
        """The contents' ids."""
        return self.table.ids

    def with_changes(self, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Return the shelf after catalogue changes."""
        return replace(self, present=self.present.with_table(self.table.with_changes(rows)))

    def having_read(self, readings: Readings) -> Self:
        """Return the shelf after some more readings, by anybody."""
        return replace(self, present=self.present.having_read(readings)) if len(readings) else self

    def recommend(self, request: Request, items: ItemTable) -> Slate:
        """Answer with what is fresh and fits: never what was read, unless it is asked for again."""
        allowed = self._every[self._may_show(request, self._every)]
        pins = request.pins[self._may_show(request, request.pins)][: request.k]
        picks = [Pick(int(i), 0.0, "pin", reason("pinned"), kind=self.kind) for i in pins]
        picks += self._chosen(request, allowed[~np.isin(allowed, pins)], items, request.k - len(picks))
        if len(picks) == request.k:
            return Slate(tuple(picks), ())
        few = "no more contents may be shown to this customer"
        return Slate(tuple(picks), (f"only {len(picks)} of {request.k} places filled: {few}",), ("short",))

    @cached_property
    def _every(self) -> Int32s:
        return np.arange(len(self.table), dtype=np.int32)

    def _chosen(self, request: Request, allowed: Int32s, items: ItemTable, k: int) -> list[Pick]:
        if not len(allowed) or k <= 0:
            return []
        present, config = self.present, self.model.config
        reader = Reader.of(request.query, present)
        pool = find_contents(reader, allowed, present, self.model.index, config.pool)
        if request.steering.weighs:  # what operators boost comes into question however old it is
            pool = np.union1d(pool, allowed[request.steering.factors(allowed) > 1]).astype(np.int32)
        score, matrix = order_contents(reader, pool, present, items, self.model.forests, config.weights)
        score = request.steering.weighed(pool, score)
        order = np.lexsort((pool, -score)).astype(np.int32)
        chosen = explored(order, k, request.explore_seed)
        whys = grounds_of(reader, pool[chosen.sure], matrix[chosen.sure], present, items)
        picks = [self._pick(int(pool[row]), float(score[row]), why) for row, why in zip(chosen.sure, whys, strict=True)]
        for row, share in zip(chosen.drawn, chosen.propensity, strict=True):
            picks.append(Pick(int(pool[row]), float(score[row]), "explore", reason("explore"), share, self.kind))
        # A long list asks for more than what comes into question: the newest of the rest fill it.
        return picks + self._rest(allowed, {pick.item_idx for pick in picks}, k - len(picks))

    def _pick(self, content_idx: int, score: float, why: Why) -> Pick:
        return Pick(content_idx, score, why.stage, why.reason, kind=self.kind)

    def _rest(self, allowed: Int32s, taken: set[int], n: int) -> list[Pick]:
        if n <= 0:
            return []
        left = allowed[~np.isin(allowed, list(taken))]
        newest = left[np.argsort(-self.present.published[left], kind="stable")][:n]
        return [Pick(int(i), 0.0, "fallback:newest", reason("content_more"), kind=self.kind) for i in newest]

    def _may_show(self, request: Request, content_idx: Int32s) -> Bools:
        query, wishes = request.query, request.content
        keep = self.present.is_out(content_idx, query.at) & ~np.isin(content_idx, request.exclude)
        if request.steering.rules:
            keep &= request.steering.allows(content_idx)
        if query.channel:
            keep &= self._fits_channel(content_idx, query.channel)
        if wishes.forms:
            forms = self.present.forms
            keep &= np.array([forms[i] in wishes.forms for i in content_idx], np.bool_)
        unwanted = query.contents.item_idx[query.contents.kind == EventKind.dislike]
        if not wishes.again:
            unwanted = np.append(unwanted, query.contents.item_idx[is_reading(query.contents.kind)])
        return keep & ~np.isin(content_idx, unwanted)

    def _fits_channel(self, content_idx: Int32s, channel: str) -> Bools:
        told = self.table.contents
        fits = (channel in one.channels if (one := told[i]) and one.channels else True for i in content_idx)
        return np.fromiter(fits, np.bool_, len(content_idx))
