"""`content_based`: products that are described alike, sold or not: TF-IDF over their texts, reduced by SVD.

Deerwester et al., 1990, "Indexing by latent semantic analysis", on the terms of `features.text`.
"""

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.arrays import Float32s, Int32s
from features.dataset import Dataset
from features.text import split_words
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, read_profile
from models.recommenders.vectors import inner_products

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
class ContentBasedModel:
    """Descriptions as directions.

    Attributes
    ----------
    items : float32 [n_items, dim]
        Length 1; zero for products without any text.
    described : bool [n_items]
        Whether a product has a direction.
    index : FaissIndex
        Over `items`.
    """

    config: ContentBasedConfig
    items: Float32s
    described: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"
    index: FaissIndex

    def _profile(self, query: Query) -> tuple[Int32s, Float32s]:
        c = self.config
        item_idx, weight = read_profile(query, c.evidence, c.half_life_days, len(self.items), c.profile_items)
        return item_idx[self.described[item_idx]], weight[self.described[item_idx]]

    def _taste(self, query: Query) -> Float32s | None:
        item_idx, weight = self._profile(query)
        mean = np.einsum("i,ij->j", weight, self.items[item_idx])
        length = float(np.sqrt(np.einsum("j,j->", mean, mean)))
        return (mean / length).astype(np.float32) if length > 0 else None

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products described most like the profile (seeds, else the decayed history)."""
        taste = self._taste(query)
        if taste is None:
            return NOTHING
        rows, _ = self.index.search(taste, limit)
        item_idx = rows.astype(np.int32)
        score = inner_products(self.items, item_idx, taste)
        keep = self.described[item_idx] & (score > 0)
        return top_candidates(item_idx[keep], score[keep], limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Cosine with the profile: float32 [n], NaN for products without text or unknown, and for strangers."""
        taste = self._taste(query)
        known = (item_idx >= 0) & (item_idx < len(self.items))
        known[known] = self.described[item_idx[known]]
        found = np.full(len(item_idx), np.nan, np.float32)
        if taste is not None:
            found[known] = inner_products(self.items, item_idx[known], taste)
        return found

    def because(self, query: Query, item_idx: int) -> int:
        """Return the profile's item described most like `item_idx`, -1 when none is."""
        profile, weight = self._profile(query)
        if not len(profile) or not self.described[item_idx]:
            return -1
        vote = weight * inner_products(self.items, profile, self.items[item_idx])
        best = int(np.argmax(vote))
        return int(profile[best]) if vote[best] > 0 else -1


def fit_content_based(dataset: Dataset, config: ContentBasedConfig, rng: np.random.Generator) -> ContentBasedModel:
    """Describe all products, on one thread; cost linear in the characters, plus a sparse SVD."""
    seed = int(rng.integers(2**31 - 1))
    terms = describe_products(dataset.products.frame, config.max_chars)
    with threadpool_limits(1, "blas"):
        items = embed_terms(terms, config, seed)
    described = np.einsum("ij,ij->i", items, items) > 0.5
    return ContentBasedModel(config, items, described, build_index(items))


def describe_products(frame: pl.DataFrame, max_chars: int) -> list[list[str]]:
    """Return the terms of each product: words of all its texts, and its brand and category levels as one term each."""
    described: list[list[str]] = [[] for _ in range(len(frame))]
    for column in WORDED:
        if column not in frame.columns:
            continue
        for terms, value in zip(described, frame[column].to_list(), strict=True):
            if value is None:
                continue
            text = " \n ".join(value) if isinstance(value, list) else str(value)
            terms.extend(split_words(text[:max_chars]))
            if column == "brand":
                terms.append(f"brand={text.casefold()}")
            if column == "category":
                parts = text.split("/")
                terms.extend(f"category={'/'.join(parts[: depth + 1])}" for depth in range(len(parts)))
    return described


def embed_terms(described: list[list[str]], config: ContentBasedConfig, seed: int) -> Float32s:
    """Turn the terms of each product into a direction: float32 [n, dim ≤ config.dim], rows of length 1 or 0."""
    if not any(described):
        return np.zeros((len(described), 1), np.float32)
    vectorizer = TfidfVectorizer(
        analyzer=_as_they_are, sublinear_tf=True, max_features=config.max_terms, dtype=np.float32
    )
    term_weights = sp.csr_array(vectorizer.fit_transform(described))
    smallest = min(term_weights.shape)
    if smallest <= config.dim:
        # Too few terms to reduce: the terms themselves, through their own Gram matrix where products are fewer.
        reduced = term_weights.toarray() if term_weights.shape[1] <= config.dim else _by_products(term_weights)
    else:
        with warnings.catch_warnings():
            # Products described all alike have no variance left to explain, which scikit-learn divides by.
            warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
            reduced = TruncatedSVD(config.dim, random_state=seed).fit_transform(term_weights)
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    described_at_all = length > 1e-6
    return np.where(described_at_all, reduced / np.where(described_at_all, length, 1.0), 0.0).astype(np.float32)


def _by_products(term_weights: sp.csr_array) -> Float32s:
    """Coordinates with the same inner products as the rows, in as many dimensions as there are rows (all SVD)."""
    left, singular, _ = np.linalg.svd(term_weights.toarray(), full_matrices=False)
    return np.asarray(left * singular, np.float32)


def _as_they_are(terms: list[str]) -> list[str]:
    return terms
