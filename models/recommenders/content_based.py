"""`content_based`: products that are described alike, sold or not: TF-IDF over their texts, reduced by SVD.

Deerwester et al., 1990, "Indexing by latent semantic analysis", on the terms of `features.text`. What comes after
training is folded in (their section "folding-in"): the same terms, weights and axes give it a direction.
"""

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.arrays import Bools, Float32s, Int32s
from features.dataset import Dataset
from features.ids import IdMap
from features.text import split_words
from models.arrivals import Arrivals
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, read_profile

WORDED: Final = ("title", "category", "brand", "tags", "text")


class ContentBasedConfig(BaseModel):
    """Settings of `content_based`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(64, ge=1, le=1024, description="Dimensions of a description; fewer where there are few terms.")
    max_terms: int = Field(50_000, ge=1, description="Most frequent terms kept.")
    max_chars: int = Field(2_000, ge=1, description="Characters read of each long text.")
    half_life_days: float = Field(60.0, gt=0, description="An event of the profile this old counts half.")
    profile_items: int = Field(100, ge=1, description="Most items of a history in the profile: the weightiest.")
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What events count, in purchases.")


@dataclass(frozen=True, eq=False)
class Wording:
    """How terms become a direction: TF-IDF, then the axes of the SVD.

    Attributes
    ----------
    terms : IdMap [n_terms]
    idf : float32 [n_terms]
    axes : float32 [n_terms, dim]
    """

    terms: IdMap
    idf: Float32s
    axes: Float32s

    @classmethod
    def empty(cls) -> Self:
        """Know no term: everything is without a direction."""
        return cls(IdMap.of(()), np.zeros(0, np.float32), np.zeros((0, 1), np.float32))

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        made = _vectorizer(vocabulary={term: row for row, term in enumerate(self.terms.texts)})
        made.idf_ = self.idf
        return made

    def directions(self, described: list[list[str]]) -> Float32s:
        """Return the direction of each list of terms: float32 [n, dim], rows of length 1, or 0 without known terms."""
        if not len(self.terms):
            return np.zeros((len(described), self.axes.shape[1]), np.float32)
        reduced = sp.csr_array(self._vectorizer.transform(described)) @ self.axes
        length = np.sqrt(np.einsum("ij,ij->i", reduced, reduced))[:, None]
        has_direction = length > 1e-6
        return np.where(has_direction, reduced / np.where(has_direction, length, 1.0), 0.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ContentBasedModel:
    """Descriptions as directions.

    Attributes
    ----------
    items : float32 [n_trained, dim]
        Length 1; zero for products without any text.
    described : bool [n_items]
        Whether a product has a direction.
    index : FaissIndex
        Over `items`.
    wording : Wording
        What gave them their directions.
    later : float32 [n_items - n_trained, dim]
        Products that came after training, few enough to be looked at one by one.
    """

    config: ContentBasedConfig
    items: Float32s
    described: Bools
    index: FaissIndex
    wording: Wording = field(default_factory=Wording.empty)
    later: Float32s = field(default_factory=lambda: np.zeros((0, 1), np.float32))

    def _profile(self, query: Query) -> tuple[Int32s, Float32s]:
        c = self.config
        item_idx, weight = read_profile(query, c.evidence, c.half_life_days, len(self.described), c.profile_items)
        return item_idx[self.described[item_idx]], weight[self.described[item_idx]]

    def _directions(self, item_idx: Int32s) -> Float32s:
        n_trained = len(self.items)
        is_old = item_idx < n_trained
        if is_old.all():
            return self.items[item_idx]
        found = np.empty((len(item_idx), self.items.shape[1]), np.float32)
        found[is_old], found[~is_old] = self.items[item_idx[is_old]], self.later[item_idx[~is_old] - n_trained]
        return found

    def _taste(self, query: Query) -> Float32s | None:
        item_idx, weight = self._profile(query)
        mean = np.einsum("i,ij->j", weight, self._directions(item_idx))
        length = float(np.sqrt(np.einsum("j,j->", mean, mean)))
        return (mean / length).astype(np.float32) if length > 0 else None

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products described most like the profile (seeds, else the decayed history)."""
        taste = self._taste(query)
        if taste is None:
            return NOTHING
        rows, _ = self.index.search(taste, limit)
        item_idx = np.append(rows, np.arange(len(self.items), len(self.described))).astype(np.int32)
        score = _cosines(self._directions(item_idx), taste)
        keep = self.described[item_idx] & (score > 0)
        return top_candidates(item_idx[keep], score[keep], limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Cosine with the profile: float32 [n], NaN for products without text or unknown, and for strangers."""
        taste = self._taste(query)
        known = (item_idx >= 0) & (item_idx < len(self.described))
        known[known] = self.described[item_idx[known]]
        found = np.full(len(item_idx), np.nan, np.float32)
        if taste is not None:
            found[known] = _cosines(self._directions(item_idx[known]), taste)
        return found

    def because(self, query: Query, item_idx: int) -> int:
        """Return the profile's item described most like `item_idx`, -1 when none is."""
        profile, weight = self._profile(query)
        if not len(profile) or not self.described[item_idx]:
            return -1
        vote = weight * _cosines(self._directions(profile), self._directions(np.array([item_idx], np.int32))[0])
        best = int(np.argmax(vote))
        return int(profile[best]) if vote[best] > 0 else -1

    def grown(self, arrivals: Arrivals) -> Self:
        """Return the model with some products described by their words; terms that it does not know say nothing."""
        n_trained = len(self.items)
        dim, terms = self.items.shape[1], describe_products(arrivals.frame, self.config.max_chars)
        later = np.zeros((arrivals.n_items - n_trained, dim), np.float32)
        if len(self.later):
            later[: len(self.later)] = self.later
        later[arrivals.item_idx - n_trained] = self.wording.directions(terms)
        described = np.append(self.described[:n_trained], np.einsum("ij,ij->i", later, later) > 0.5)
        return replace(self, described=described, later=later)


def fit_content_based(dataset: Dataset, config: ContentBasedConfig, rng: np.random.Generator) -> ContentBasedModel:
    """Describe all products, on one thread; cost linear in the characters, plus a sparse SVD."""
    seed = int(rng.integers(2**31 - 1))
    terms = describe_products(dataset.products.frame, config.max_chars)
    with threadpool_limits(1, "blas"):
        wording = fit_wording(terms, config, seed)
        items = wording.directions(terms)
    described = np.einsum("ij,ij->i", items, items) > 0.5
    later = np.zeros((0, items.shape[1]), np.float32)
    return ContentBasedModel(config, items, described, build_index(items), wording, later)


def describe_products(frame: pl.DataFrame, max_chars: int) -> list[list[str]]:
    """Return the terms of each product: words of all its texts, and its brand and category levels as one term each."""
    described: list[list[str]] = [[] for _ in range(len(frame))]
    for column in WORDED:
        if column not in frame.columns:
            continue
        values = frame[column].to_list()
        texts = [
            None if value is None else " \n ".join(value) if isinstance(value, list) else str(value) for value in values
        ]
        terms_of = {text: _terms_of(column, text, max_chars) for text in set(texts) if text is not None}
        for terms, text in zip(described, texts, strict=True):
            if text is not None:
                terms.extend(terms_of[text])
    return described


def _terms_of(column: str, text: str, max_chars: int) -> list[str]:
    terms = split_words(text[:max_chars])
    if column == "brand":
        terms.append(f"brand={text.casefold()}")
    if column == "category":
        parts = text.split("/")
        terms.extend(f"category={'/'.join(parts[: depth + 1])}" for depth in range(len(parts)))
    return terms


def fit_wording(described: list[list[str]], config: ContentBasedConfig, seed: int) -> Wording:
    """Learn terms, their weights and at most `config.dim` axes from all products' terms."""
    if not any(described):
        return Wording.empty()
    vectorizer = _vectorizer(max_features=config.max_terms)
    term_weights = sp.csr_array(vectorizer.fit_transform(described))
    smallest = min(term_weights.shape)
    if smallest > config.dim:
        svd = TruncatedSVD(config.dim, random_state=seed)
        with warnings.catch_warnings():
            # Products described all alike have no variance left to explain, which scikit-learn divides by.
            warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
            axes = svd.fit(term_weights).components_.T
    elif term_weights.shape[1] <= config.dim:  # too few terms to reduce: the terms themselves
        axes = np.eye(term_weights.shape[1])
    else:  # too few products: as many axes as hold them all
        _, singular, right = np.linalg.svd(term_weights.toarray(), full_matrices=False)
        axes = right.T * (singular > 1e-6 * singular[0])  # axes that nothing lies along are anything's
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    return Wording(IdMap.of(terms), vectorizer.idf_.astype(np.float32), np.ascontiguousarray(axes, np.float32))


def _vectorizer(**settings: object) -> TfidfVectorizer:
    return TfidfVectorizer(analyzer=_as_they_are, sublinear_tf=True, dtype=np.float32, **settings)


def _cosines(directions: Float32s, direction: Float32s) -> Float32s:
    # Row by row in one order of summation: an item's score does not hang on its company.
    return np.asarray(np.einsum("ij,j->i", directions, direction), np.float32)


def _as_they_are(terms: list[str]) -> list[str]:
    return terms
