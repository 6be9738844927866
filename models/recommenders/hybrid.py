"""`hybrid`: tastes learnt over attributes, so that new products and new customers start somewhere.

Kula, 2015, "Metadata embeddings for user and item cold-start recommendations" (LightFM), with the WARP loss of Weston,
Bengio & Usunier, 2011. This file is the only door to `lightfm`.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import scipy.sparse as sp
from lightfm import LightFM
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.arrays import Bools, Float32s, Int32s
from features.attributes import read_attributes
from features.dataset import Dataset
from models.forgetting import Gone, zeroed_rows
from models.index.choose import build_index
from models.index.faiss_index import FaissIndex
from models.query import NOTHING, Candidates, Query, top_candidates
from models.recommenders.evidence import EvidenceConfig, pair_matrix
from models.recommenders.vectors import inner_products


class HybridConfig(BaseModel):
    """Settings of `hybrid`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(32, ge=1, le=512, description="Dimensions of a taste, biases apart.")
    epochs: int = Field(8, ge=1, description="Passes over the pairs.")
    least_steps: int = Field(
        30_000,
        ge=0,
        description="A small shop's pairs are passed over more often, up to 500 times, until so many steps.",
    )
    max_pairs: int = Field(120_000, ge=1, description="Pairs of customer and product seen, drawn where there are more.")
    max_sampled: int = Field(10, ge=1, description="Most products tried for one that wrongly ranks above a wanted one.")
    learning_rate: float = Field(0.05, gt=0)
    evidence: EvidenceConfig = Field(default=EvidenceConfig(), description="What other events count, in purchases.")


@dataclass(frozen=True, eq=False)
class HybridModel:
    """Representations of everybody and everything that something is known of.

    Attributes
    ----------
    customers : float32 [n_customers, dim + 1]
        Taste and a last 1 that takes the product's bias in; zero where neither events nor attributes are known.
    names : tuple of str
        Customer attributes as `name=value`, sorted.
    attributes : float32 [len(names), dim]
        What each attribute adds to a taste.
    items : float32 [n_items, dim + 1]
        Vector and bias; zero where nothing is known.
    known : bool [n_items]
        Whether a product was sold or has attributes.
    rows : int32 [n_known]
        The products in the index.
    index : FaissIndex
        Over `items[rows]`.
    """

    config: HybridConfig
    customers: Float32s
    names: tuple[str, ...]
    attributes: Float32s
    items: Float32s
    known: Bools
    rows: Int32s
    index: FaissIndex

    def _taste(self, query: Query) -> Float32s | None:
        if len(query.seeds):
            return self._taste_of_seeds(query.seeds)
        if 0 <= query.customer_idx < len(self.customers):
            taste = np.asarray(self.customers[query.customer_idx], np.float32)
            if taste.any():
                return taste
        rows = [self._row_of(_feature(*pair)) for pair in sorted(query.attributes.items())]
        rows = [row for row in rows if row >= 0]
        if not rows:
            return None
        return np.append(self.attributes[rows].mean(axis=0), 1.0).astype(np.float32)

    def _row_of(self, feature: str) -> int:
        row = bisect_left(self.names, feature)
        return row if row < len(self.names) and self.names[row] == feature else -1

    def _taste_of_seeds(self, seeds: Int32s) -> Float32s | None:
        """Return the mean direction of the seeds; their popularity is no reason, so biases stay out."""
        seeds = np.unique(seeds[(seeds >= 0) & (seeds < len(self.items))])
        vectors = self.items[seeds[self.known[seeds]], :-1]
        return np.append(vectors.mean(axis=0), 0.0).astype(np.float32) if len(vectors) else None

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the products that fit the customer best, else the attributes; none for who has neither."""
        taste = self._taste(query)
        if taste is None:
            return NOTHING
        found, _ = self.index.search(taste, limit)
        item_idx = self.rows[found]
        return top_candidates(item_idx, inner_products(self.items, item_idx, taste), limit)

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Taste · product + bias: float32 [n], NaN for products nothing is known of, and for strangers."""
        taste = self._taste(query)
        known = (item_idx >= 0) & (item_idx < len(self.items))
        known[known] = self.known[item_idx[known]]
        found = np.full(len(item_idx), np.nan, np.float32)
        if taste is not None:
            found[known] = inner_products(self.items, item_idx[known], taste)
        return found

    def without(self, gone: Gone) -> Self:
        """Forget some customers' tastes, and the attributes that only they had."""
        theirs = {_feature(*pair) for pair in gone.attributes}
        kept = [row for row, name in enumerate(self.names) if name not in theirs]
        names, attributes = tuple(self.names[row] for row in kept), np.array(self.attributes[kept])
        customers = zeroed_rows(self.customers, gone.customer_idx)
        return replace(self, customers=customers, names=names, attributes=attributes)


def fit_hybrid(dataset: Dataset, config: HybridConfig, rng: np.random.Generator) -> HybridModel:
    """Train on one thread; cost epochs × pairs × max_sampled × dim × attributes per product."""
    seed = int(rng.integers(2**31 - 1))
    wanted = pair_matrix(dataset, config.evidence)
    names, customer_attributes = _marked(customer_features(dataset))
    _, item_attributes = _marked(product_features(dataset))
    sold = np.bincount(wanted.indices, minlength=wanted.shape[1]) > 0
    active = np.diff(wanted.indptr) > 0
    who_has = _weighted(active, customer_attributes)
    what_has = _weighted(sold, item_attributes)
    known = np.asarray(what_has.sum(axis=1)).ravel() > 0
    if not wanted.nnz:
        return _made(config, np.zeros((wanted.shape[0], 2), np.float32), (), np.zeros((0, 1), np.float32),
                     np.zeros((wanted.shape[1], 2), np.float32), np.zeros(wanted.shape[1], bool))  # fmt: skip
    pairs = _drawn_pairs(wanted, config.max_pairs, rng)
    passes = max(config.epochs, min(500, config.least_steps // pairs.nnz))
    with threadpool_limits(1, "blas"):
        trained = LightFM(
            no_components=config.dim, loss="warp", max_sampled=config.max_sampled, random_state=seed,
            learning_rate=config.learning_rate,
        )  # fmt: skip
        trained.fit(pairs, user_features=who_has, item_features=what_has, epochs=passes, num_threads=1)
    vectors, biases = what_has @ trained.item_embeddings, what_has @ trained.item_biases
    tastes = who_has @ trained.user_embeddings
    someone = np.asarray(who_has.sum(axis=1)).ravel() > 0
    return _made(
        config, np.column_stack([tastes, someone]).astype(np.float32), names,
        np.asarray(trained.user_embeddings[wanted.shape[0] :], np.float32),
        np.column_stack([vectors, biases]).astype(np.float32), known,
    )  # fmt: skip


def _made(
    config: HybridConfig, customers: Float32s, names: tuple[str, ...], attributes: Float32s, items: Float32s,
    known: Bools,
) -> HybridModel:  # fmt: skip
    rows = np.flatnonzero(known).astype(np.int32)
    return HybridModel(config, customers, names, attributes, items, known, rows, build_index(items[rows]))


def _feature(name: str, value: str) -> str:
    return f"{name}={value}"


def customer_features(dataset: Dataset) -> list[list[str]]:
    """Return the attributes of each customer as `name=value`."""
    return [[_feature(*pair) for pair in known.items()] for known in read_attributes(dataset.customers)]


def product_features(dataset: Dataset) -> list[list[str]]:
    """Return brand, every level of the category, and tags of each product as `name=value`."""
    frame = dataset.products.frame
    columns: Mapping[str, list[str | list[str] | None]] = {
        name: frame[name].to_list() for name in ("brand", "category", "tags") if name in frame.columns
    }
    found: list[list[str]] = [[] for _ in range(len(frame))]
    for name, values in columns.items():
        for features, value in zip(found, values, strict=True):
            if isinstance(value, list):
                features.extend(_feature(name, tag) for tag in value)
            elif value and name == "category":
                parts = value.split("/")
                features.extend(_feature(name, "/".join(parts[: d + 1])) for d in range(len(parts)))
            elif value:
                features.append(_feature(name, value))
    return found


def _marked(features: list[list[str]]) -> tuple[tuple[str, ...], sp.csr_array]:
    """Return the names (sorted) and who has which: CSR float32 [n, n_names] of ones."""
    names = sorted({name for row in features for name in row})
    number = {name: at for at, name in enumerate(names)}
    rows = [sorted({number[name] for name in row}) for row in features]
    indptr = np.append(0, np.cumsum([len(row) for row in rows])).astype(np.int32)
    columns = np.array([at for row in rows for at in row], np.int32)
    return tuple(names), sp.csr_array((np.ones(len(columns), np.float32), columns, indptr), (len(rows), len(names)))


def _weighted(has_events: Bools, attributes: sp.csr_array) -> sp.csr_matrix:
    """Put the identity of those with events before their attributes; every row sums to 1, or to 0 without either."""
    features = sp.hstack([sp.diags_array(has_events.astype(np.float32)), attributes], format="csr", dtype=np.float32)
    features.eliminate_zeros()
    total = np.asarray(features.sum(axis=1)).ravel()
    features.data /= np.repeat(np.where(total > 0, total, 1.0), np.diff(features.indptr)).astype(np.float32)
    return sp.csr_matrix(features)


def _drawn_pairs(wanted: sp.csr_array, limit: int, rng: np.random.Generator) -> sp.coo_matrix:
    """Return at most `limit` pairs, each wanted once."""
    pairs = wanted.tocoo()
    chosen = np.arange(wanted.nnz)
    if wanted.nnz > limit:
        chosen = np.sort(rng.choice(wanted.nnz, limit, replace=False))
    who, what = pairs.coords[0][chosen].astype(np.int32), pairs.coords[1][chosen].astype(np.int32)
    return sp.coo_matrix((np.ones(len(chosen), np.float32), (who, what)), shape=wanted.shape)
