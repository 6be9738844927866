"""What serves: one immutable value per shop, replaced whole, so that no answer ever mixes two releases.

A request takes one reference and keeps it to its end. A promoted release or a change of the catalogue makes a new
value; the old one lives as long as a request holds it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from features import columns as c
from features.columns import ItemKind
from features.errors import ReleaseError
from features.shop import Shop
from features.watermarks import Watermark, read_watermarks
from models.contents.pulse import Readings
from models.items import ItemTable
from models.release import Release
from models.rules import RuleBook
from models.slate import Request
from models.storefront import Rows, Storefront
from models.trained import Models
from service.journal import CATALOGUE, NOTHING_YET, ZERO
from service.problems import NoRelease

WARM_PLACES: Final = 10


@dataclass(frozen=True, eq=False)
class ServingSet:
    """A release mapped into memory with the catalogue as it is now.

    Attributes
    ----------
    shop : Shop
    release : Release
        Shared with the serving sets made of it; nothing in it changes.
    storefront : Storefront
        What the release chooses with, and its items under the live changes up to `catalogue`; sources that can
        (`models.seams.Growing`) also know the products that came since.
    catalogue : str
        Journal id of the last catalogue change contained.
    watermarks : mapping
        By partition, what of the journal the release contains: a customer's live tail is what lies above.
    pulse : str
        Id in the stream of readings (service/readings.py) up to which contents have been read.
    """

    shop: Shop
    release: Release
    storefront: Storefront
    catalogue: str
    watermarks: Mapping[str, Watermark]
    pulse: str = ZERO

    @classmethod
    def of(cls, shop: Shop, release: Release) -> Self:
        """Take a release as it was trained; a release of another shop is refused."""
        if release.manifest.shop != shop.name:
            raise ReleaseError(
                f"Release {release.manifest.release_id} belongs to the shop '{release.manifest.shop}', "
                f"not to '{shop.name}'; promote one of this shop."
            )
        marks = read_watermarks(release.manifest.watermarks)
        storefront = release.models.storefront.with_low_stock(shop.low_stock)
        return cls(shop, release, storefront, marks.get(CATALOGUE, NOTHING_YET).id, marks)

    @property
    def release_id(self) -> str:
        """Id of the release."""
        return self.release.manifest.release_id

    @property
    def items(self) -> ItemTable:
        """The products as they are now."""
        return self.storefront.items

    @property
    def models(self) -> Models:
        """Its models."""
        return self.release.models

    def with_changes(self, rows: Mapping[ItemKind, Rows], catalogue: str) -> Self:
        """Return the serving set after catalogue changes (full rows by kind) up to the journal id `catalogue`."""
        fresh = {kind: [row for row in told if self._is_newer(kind, row)] for kind, told in rows.items()}
        storefront = self.storefront.with_changes(fresh, self.models.products.ids)
        return replace(self, storefront=storefront, catalogue=catalogue)

    def having_read(self, readings: Readings, pulse: str) -> Self:
        """Return the serving set after some more readings of contents, up to the id `pulse` of their stream."""
        front = self.storefront
        return replace(self, storefront=replace(front, contents=front.contents.having_read(readings)), pulse=pulse)

    def under(self, shop: Shop) -> Self:
        """Return the serving set under the shop's settings as they are now."""
        if shop == self.shop:
            return self
        return replace(self, shop=shop, storefront=self.storefront.with_low_stock(shop.low_stock))

    def obeying(self, rules: RuleBook) -> Self:
        """Return the serving set under the operators' rules."""
        storefront = self.storefront.under(rules)
        return self if storefront is self.storefront else replace(self, storefront=storefront)

    def _is_newer(self, kind: ItemKind, row: Mapping[str, Any]) -> bool:
        """Whether a change came after the row the release was trained with: a file loaded later beats it."""
        trained = self.models.items_of(kind)
        frame, idx = trained.frame, trained.ids.idx(str(row[f"{kind.name}_id"]))
        if idx < 0 or c.VALID_FROM not in frame.columns:
            return True
        return int(row.get(c.VALID_FROM) or 0) >= int(frame[c.VALID_FROM][idx] or 0)

    def warm(self, at: int) -> None:
        """Answer every scene for a stranger and a known customer: pages are read and caches made before it serves."""
        known = min(len(self.models.customers.ids), 1) - 1
        for scene in self.storefront.scenes:
            for who in {-1, known}:
                self.storefront.recommend(Request(self.models.query(who, at), scene, WARM_PLACES))


class ServingSets:
    """The serving set of each shop in this worker; a swap is one assignment between two requests."""

    def __init__(self) -> None:
        self._current: dict[str, ServingSet] = {}

    def of(self, shop: str) -> ServingSet:
        """Return the one that serves now, or raise `NoRelease`."""
        if shop not in self._current:
            raise NoRelease(shop)
        return self._current[shop]

    def release_id(self, shop: str) -> str | None:
        """Return the release that serves now, None when there is none."""
        return self._current[shop].release_id if shop in self._current else None

    def swap(self, fresh: ServingSet) -> None:
        """Let another one serve from the next request on."""
        self._current[fresh.shop.name] = fresh

    def refresh(self, fresh: ServingSet) -> ServingSet:
        """Keep a serving set with a newer catalogue, unless another release has been swapped in meanwhile."""
        if self.release_id(fresh.shop.name) == fresh.release_id:
            self._current[fresh.shop.name] = fresh
        return fresh

    def drop_except(self, shops: Iterable[str]) -> None:
        """Let go of shops that are gone."""
        kept = set(shops)
        self._current = {name: one for name, one in self._current.items() if name in kept}

    def drop(self, shop: str) -> None:
        """Let go of a shop that must not be served any more."""
        self._current.pop(shop, None)

    @property
    def shops(self) -> tuple[str, ...]:
        """Shops that can serve."""
        return tuple(self._current)
