"""The shelf of contents: which may be shown to whom (PRODUCT.md, W3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from features.arrays import Bools, Int32s
from features.columns import ItemKind
from models.arrivals import grown_to
from models.catalogued import LiveIds
from models.contents.model import ContentModel
from models.contents.table import ContentTable
from models.items import ItemTable
from models.reasons import reason
from models.slate import Pick, Request, Slate, steered

NEWEST: Final = "newest"
POPULAR: Final = "popular"


@dataclass(frozen=True, eq=False)
class ContentShelf:
    """What a release knows of contents, and the contents as they are now."""

    model: ContentModel
    table: ContentTable

    @property
    def kind(self) -> ItemKind:
        """What it shows."""
        return ItemKind.content

    @property
    def ids(self) -> LiveIds:
        """The contents' ids."""
        return self.table.ids

    def with_changes(self, rows: Sequence[Mapping[str, Any]]) -> Self:
        """Return the shelf after catalogue changes."""
        return replace(self, table=self.table.with_changes(rows))

    def recommend(self, request: Request, items: ItemTable) -> Slate:
        """Answer with what many read lately, then the newest."""
        del items
        every = np.arange(len(self.table), dtype=np.int32)
        allowed = every[self._may_show(request, every)]
        weight = grown_to(len(self.table), np.array(self.model.weight), 0.0)
        order = allowed[np.lexsort((allowed, -self.table.shown_from[allowed], -weight[allowed]))]
        order = steered(request, order)[: request.k]
        picks = [
            Pick(int(i), float(weight[i]), POPULAR if weight[i] > 0 else NEWEST,
                 reason("content_popular" if weight[i] > 0 else "content_new"), kind=self.kind)
            for i in order
        ]  # fmt: skip
        short = [f"only {len(picks)} of {request.k} places filled: no more contents may be shown"]
        return Slate(tuple(picks), tuple(short if len(picks) < request.k else ()))

    def _may_show(self, request: Request, content_idx: Int32s) -> Bools:
        keep = self.table.showable(content_idx, request.query.at) & ~np.isin(content_idx, request.exclude)
        if request.steering.rules:
            keep &= request.steering.allows(content_idx)
        if request.content.forms:
            forms = [one.form if one else "" for one in self.table.contents]
            keep &= np.array([forms[i] in request.content.forms for i in content_idx], np.bool_)
        if not request.content.again:
            keep &= ~np.isin(content_idx, request.query.contents.item_idx)
        return keep
