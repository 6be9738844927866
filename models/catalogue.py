"""Every source and every part by name: adding an algorithm is one file, one line here and one golden test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from features.dataset import Dataset
from models.audience.model import AudienceConfig, AudienceModel, fit_audience
from models.bundles.model import BundleConfig, BundleModel, fit_bundles
from models.contents.config import ContentConfig
from models.contents.model import ContentModel, fit_contents
from models.lifecycle.config import LifecycleConfig
from models.lifecycle.model import LifecycleModel, fit_lifecycle
from models.recommenders.als import AlsConfig, AlsModel, fit_als
from models.recommenders.completion import CompletionConfig, CompletionModel, fit_completion
from models.recommenders.content_based import ContentBasedConfig, ContentBasedModel, fit_content_based
from models.recommenders.ease import EaseConfig, EaseModel, fit_ease
from models.recommenders.gf_cf import GfCfConfig, GfCfModel, fit_gf_cf
from models.recommenders.hybrid import HybridConfig, HybridModel, fit_hybrid
from models.recommenders.itemknn import ASPECTS, ItemKnnConfig, ItemKnnModel, fit_itemknn
from models.recommenders.newest import NewestConfig, NewestModel, fit_newest
from models.recommenders.next_basket import NextBasketConfig, NextBasketModel, fit_next_basket
from models.recommenders.own_kinds import OwnKindsConfig, OwnKindsModel, fit_own_kinds
from models.recommenders.popular import PopularConfig, PopularModel, fit_popular
from models.recommenders.repeat import RepeatConfig, RepeatModel, fit_repeat
from models.recommenders.sequence import SequenceConfig, SequenceModel, fit_sequence
from models.recommenders.userknn import UserKnnConfig, UserKnnModel, fit_userknn
from models.seams import CandidateSource


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """How a source is configured, fitted and read back.

    Attributes
    ----------
    of_catalogue : bool
        Fitted on the products alone, no events.
    aspects : tuple of str
        What it can say beside its score (`seams.ManySided`); a recipe hears them as `<source>.<aspect>`.
    """

    config: type[BaseModel]
    model: type[CandidateSource]
    fit: Callable[[Dataset, Any, np.random.Generator], CandidateSource]
    of_catalogue: bool = False
    aspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartEntry:
    """How a part of a release beside its sources is configured, fitted and read back.

    Attributes
    ----------
    model : type
        A frozen value that `models.artifact` saves; one that holds anything of single customers has
        `without(gone)` (`seams.ForgettingPart`).
    fit : callable
        Given the dataset, the fitted sources of products by name, the settings and a generator. With no data of its
        kind the part is empty, never missing.
    empty : callable
        The part of a release that was made before there was one.
    of_sources : bool
        Looks at the fitted sources; the others are given none, and are fitted beside them.
    """

    config: type[BaseModel]
    model: type[Any]
    fit: Callable[[Dataset, Mapping[str, CandidateSource], Any, np.random.Generator], Any]
    empty: Callable[[], Any]
    of_sources: bool = False


SOURCES: Final[dict[str, SourceEntry]] = {
    "popular": SourceEntry(PopularConfig, PopularModel, fit_popular),
    "repeat": SourceEntry(RepeatConfig, RepeatModel, fit_repeat),
    "next_basket": SourceEntry(NextBasketConfig, NextBasketModel, fit_next_basket),
    "userknn": SourceEntry(UserKnnConfig, UserKnnModel, fit_userknn),
    "itemknn": SourceEntry(ItemKnnConfig, ItemKnnModel, fit_itemknn, aspects=ASPECTS),
    "sequence": SourceEntry(SequenceConfig, SequenceModel, fit_sequence),
    "gf_cf": SourceEntry(GfCfConfig, GfCfModel, fit_gf_cf),
    "ease": SourceEntry(EaseConfig, EaseModel, fit_ease),
    "als": SourceEntry(AlsConfig, AlsModel, fit_als),
    "hybrid": SourceEntry(HybridConfig, HybridModel, fit_hybrid),
    "content_based": SourceEntry(ContentBasedConfig, ContentBasedModel, fit_content_based, of_catalogue=True),
    "completion": SourceEntry(CompletionConfig, CompletionModel, fit_completion),
    "own_kinds": SourceEntry(OwnKindsConfig, OwnKindsModel, fit_own_kinds),
    "newest": SourceEntry(NewestConfig, NewestModel, fit_newest),
}

PARTS: Final[dict[str, PartEntry]] = {
    "contents": PartEntry(ContentConfig, ContentModel, fit_contents, ContentModel.empty),
    "bundles": PartEntry(BundleConfig, BundleModel, fit_bundles, BundleModel.empty, of_sources=True),
    "lifecycle": PartEntry(LifecycleConfig, LifecycleModel, fit_lifecycle, LifecycleModel.empty),
    "audience": PartEntry(AudienceConfig, AudienceModel, fit_audience, AudienceModel.empty),
}
