"""`Models`: everything a release serves with, in memory: what training makes and `models.release` reads back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, Self, TypeVar

import polars as pl

from features.arrays import Int32s
from features.attributes import attributes_of
from features.clock import shop_day_start
from features.columns import ItemKind
from features.consents import Refusals
from features.dataset import Dataset, Entities
from features.history import EMPTY, Histories, History, joined
from features.ids import IdMap
from models.bundles.model import BundleModel
from models.bundles.shelf import BundleShelf
from models.bundles.space import ProductSpace
from models.bundles.table import BundleTable
from models.catalogue import PARTS
from models.config import PipelineConfig, SceneConfig
from models.contents.model import ContentModel
from models.contents.shelf import ContentShelf
from models.contents.table import ContentTable
from models.items import ItemTable
from models.lifecycle.model import LifecycleModel
from models.lifecycle.standing import standing_of
from models.pipeline import Pipeline
from models.query import NO_ITEMS, Query
from models.rank.blend import LearnedBlend
from models.rank.ranker import RankerModel
from models.seams import CandidateSource
from models.storefront import Storefront

OTHER_KINDS: Final = (ItemKind.content, ItemKind.bundle)
NO_TAILS: Final[Mapping[ItemKind, History]] = {}
PartT = TypeVar("PartT")


@dataclass(frozen=True, eq=False)
class EntityTable:
    """Ids and rows of the customers or products a release knows (`Entities` as of training, made plain)."""

    ids: IdMap
    frame: pl.DataFrame

    @classmethod
    def of(cls, entities: Entities) -> Self:
        """Take the rows valid at the dataset's moment."""
        return cls(entities.ids, entities.frame)

    @classmethod
    def empty(cls) -> Self:
        """Return a table of nothing, as in a release made before there were such items."""
        return cls(IdMap.of(()), pl.DataFrame(schema={"idx": pl.Int32()}))

    def entities(self, as_of: int) -> Entities:
        """Return them as a dataset holds them."""
        return Entities(self.ids, self.frame.with_columns(valid_from=pl.lit(0, pl.Int64)), as_of)


@dataclass(frozen=True, eq=False)
class Models:
    """Everything a release serves with, in memory: what training makes and `load_release` reads back."""

    timezone: str
    as_of: int
    config: PipelineConfig
    customers: EntityTable
    products: EntityTable
    histories: Histories
    sources: Mapping[str, CandidateSource]
    rankers: Mapping[str, RankerModel] = field(default_factory=dict)
    blends: Mapping[str, LearnedBlend] = field(default_factory=dict)
    day_starts: int = 0
    refusals: Refusals = field(default_factory=lambda: Refusals.of({}))
    contents: EntityTable = field(default_factory=EntityTable.empty)
    bundles: EntityTable = field(default_factory=EntityTable.empty)
    other_histories: Mapping[ItemKind, Histories] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        config: PipelineConfig,
        sources: Mapping[str, CandidateSource],
        rankers: Mapping[str, RankerModel] | None = None,
    ) -> Self:
        """Put fitted sources together with what they were fitted on."""
        return cls(
            dataset.timezone, dataset.as_of, config, EntityTable.of(dataset.customers),
            EntityTable.of(dataset.products), dataset.product_events, sources, rankers or {},
            day_starts=dataset.day_starts, refusals=Refusals.of(dataset.refused),
            contents=EntityTable.of(dataset.contents), bundles=EntityTable.of(dataset.bundles),
            other_histories={kind: dataset.events[kind] for kind in OTHER_KINDS},
        )  # fmt: skip

    def part(self, model: type[PartT]) -> PartT:
        """Return the part of a type; one that knows nothing where the release was made before there was such a part."""
        name, entry = next((name, entry) for name, entry in PARTS.items() if entry.model is model)
        found: PartT = self.parts[name] if name in self.parts else entry.empty()
        return found

    @cached_property
    def storefront(self) -> Storefront:
        """What may be shown, as it was at training, and what chooses among it."""
        return Storefront(
            self.pipeline, self.items,
            ContentShelf.of(self.part(ContentModel), ContentTable.of(self.contents.ids, self.contents.frame)),
            BundleShelf(
                self.part(BundleModel), BundleTable.of(self.bundles.ids, self.bundles.frame),
                ProductSpace.of(self.sources),
            ),
            self.config.fatigue, standing=partial(standing_of, self.part(LifecycleModel), self.histories),
        )  # fmt: skip

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline over these models."""
        return Pipeline(self.sources, self.recipes, self.rankers)

    @cached_property
    def recipes(self) -> dict[str, SceneConfig]:
        """The recipe of each scene, what was learned put over what was said."""
        learned = {
            scene: {"sources": blend.weights, "rank_offset": blend.rank_offset} for scene, blend in self.blends.items()
        }
        return {name: said.model_copy(update=learned.get(name)) for name, said in self.config.all_scenes.items()}

    @cached_property
    def items(self) -> ItemTable:
        """The products as they were at training."""
        return ItemTable.of(self.products.entities(self.as_of))

    @cached_property
    def _attribute_texts(self) -> pl.Series:
        frame = self.customers.frame
        return frame["attributes"] if "attributes" in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)

    def items_of(self, kind: ItemKind) -> EntityTable:
        """Return the items of a kind as they were at training."""
        return {ItemKind.product: self.products, ItemKind.content: self.contents, ItemKind.bundle: self.bundles}[kind]

    def attributes(self, customer_idx: int) -> dict[str, str]:
        """Return a customer's attributes as texts, as the models were taught them; none for a stranger."""
        return attributes_of(self._attribute_texts[customer_idx]) if customer_idx >= 0 else {}

    def customer_row(self, customer_idx: int) -> Mapping[str, Any] | None:
        """Return the row of the table `customers` that the release knows of a customer; None for a stranger."""
        return self.customers.frame.row(customer_idx, named=True) if customer_idx >= 0 else None

    def person(self, ids: Iterable[str]) -> tuple[int, ...]:
        """Return the indexes of the ids of one person that the release knows, the one with the most history first.

        Ids that became one person after training are customers of their own here; those before are one customer.
        """
        known = [idx for idx in map(self.customers.ids.idx, ids) if idx >= 0]
        return tuple(sorted(known, key=lambda idx: -len(self.histories.of(idx))))

    def query(
        self, customer_idx: int, at: int, tail: History = EMPTY, seeds: Int32s = NO_ITEMS, also: Sequence[int] = (),
        others: Mapping[ItemKind, History] = NO_TAILS,
    ) -> Query:  # fmt: skip
        """Return the question of a customer (-1: a stranger) at a moment: only what lies strictly before it.

        `tail` is what happened after the release, its items in this release's indexes, ascending in time, `others` the
        same of other kinds of item; `also` are further customers of the release who are the same person (`person`).
        """
        who = (customer_idx, *also)

        def lived(histories: Histories | None, later: History) -> History:
            known = joined([histories.of(idx) for idx in who]).before(at) if histories is not None else EMPTY
            return known.then(later.before(at))

        contents, bundles = (lived(self.other_histories.get(kind), others.get(kind, EMPTY)) for kind in OTHER_KINDS)
        return Query(
            at, shop_day_start(at, self.timezone, self.day_starts), customer_idx, lived(self.histories, tail), seeds,
            self.attributes(customer_idx), self.as_of, contents, bundles,
            person=tuple(idx for idx in who if idx >= 0),
        )  # fmt: skip
