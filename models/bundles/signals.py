"""What speaks for a bundle to a customer: who else bought it, what it is made of, what he buys.

Everything is counted from two matrices, customers × bundles and customers × products, and from the parts of bundles.
Three ways lead to a bundle:

- a walk customer → what he wants → others who want it → their bundles, over bundles and products together (Paudel et
  al., 2016, "Updatable, accurate, diverse, and scalable recommendations", eq. 3 on the joined matrix);
- a linear model of each bundle by all others and by the customer's taste in products, in closed form (Steck, WWW 2019,
  "Embarrassingly shallow autoencoders", eq. 8, with the taste's directions as further columns);
- the parts: what of it he has bought, how near it is to bundles he has, how many bought others like it. These know a
  bundle that was made a second ago.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Float32s, Int32s
from models.recommenders.gf_cf import leading_directions
from models.recommenders.itemknn import strongest_of_product

BYTES_PER_PAIR: Final = 12  # of two columns of the linear model: the inverse, its other triangle, the weights
SIGNALS: Final = (
    "walk", "walk_bundles", "walk_products", "linear", "linear_taste",
    "share_walk", "share_linear", "rank_walk", "rank_linear",
    "parts_like", "parts_nearest", "parts_bought", "parts_share", "weight", "like_weight", "size", "n_bundles",
    "n_products",
)  # fmt: skip
PROPOSERS: Final = ("walk", "linear", "parts_like", "parts_share", "weight")


class SignalConfig(BaseModel):
    """How what speaks for a bundle is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(64, ge=1, le=1024, description="Directions of customers' taste in products; fewer in small shops.")
    n_passes: int = Field(3, ge=1, le=20, description="Passes of the power method that finds them.")
    product_share: float = Field(
        0.3, ge=0, le=10, description="What a product of the history counts in the walk, a bundle counting 1."
    )
    taste_share: float = Field(
        0.33, ge=0, le=10, description="What the taste weighs in the linear model, all bundles together weighing 1."
    )
    regularization: float = Field(
        40.0, gt=0, description="Ridge, in units of the mean number of customers who have a modelled bundle."
    )
    memory_mb: int = Field(512, ge=1, description="Memory of the linear model's fit; bounds the bundles it models.")
    n_neighbours: int = Field(400, ge=1, le=5000, description="Bundles kept that each bundle or product leads to.")
    block_pairs: int = Field(8_000_000, ge=1, description="Most entries of a block of a product of matrices.")


@dataclass(frozen=True, eq=False)
class Parts:
    """What bundles are made of, and in which terms products say a taste; knows nothing of who bought which bundle.

    Attributes
    ----------
    rows : CSR float32 [n_bundles, n_products]
        Weights of the parts, rare parts more; rows of length 1, or empty.
    rarity : float32 [n_products]
        log((1 + bundles) / (1 + bundles that hold it)).
    wanting : float32 [n_products]
        log((1 + customers) / (1 + customers who want it)).
    directions : float32 [n_products, dim]
        Leading directions of the customers' product vectors.
    """

    rows: sp.csr_array
    rarity: Float32s
    wanting: Float32s
    directions: Float32s

    @classmethod
    def empty(cls) -> Self:
        """Know of no bundle."""
        none = np.zeros(0, np.float32)
        return cls(_empty(0, 0), none, none, np.zeros((0, 1), np.float32))

    def taste(self, products: Int32s) -> Float32s:
        """Return the taste that products say: float32 [dim]."""
        weight = self.wanting[products]
        length = float(np.sqrt(np.einsum("i,i->", weight, weight)))
        found: Float32s = np.einsum("i,ij->j", weight, self.directions[products]) / max(length, 1e-9)
        return found.astype(np.float32)

    def weighed(self, parts: list[Int32s]) -> sp.csr_array:
        """Return rows for bundles of these parts, as `rows`."""
        n_products = len(self.rarity)
        known = [np.unique(each[(each >= 0) & (each < n_products)]) for each in parts]
        indptr = np.append(0, np.cumsum([len(each) for each in known])).astype(np.int64)
        indices = np.concatenate([np.empty(0, np.int32), *known]).astype(np.int32)
        return _of_length_1(sp.csr_array((self.rarity[indices], indices, indptr), shape=(len(parts), n_products)))


def find_parts(parts: list[Int32s], wanted: sp.csr_array, config: SignalConfig, rng: np.random.Generator) -> Parts:
    """Weigh the parts of all bundles, and find the directions of taste in customer × product evidence."""
    n_customers, n_products = wanted.shape
    held = [np.unique(each[each >= 0]) for each in parts]  # a part that is not in the catalogue says nothing
    holders = np.bincount(np.concatenate([np.empty(0, np.int32), *held]), minlength=n_products)
    buyers = np.bincount(wanted.indices, minlength=n_products)
    rarity = np.log((1 + len(parts)) / (1 + holders)).astype(np.float32)
    wanting = np.log((1 + n_customers) / (1 + buyers)).astype(np.float32)
    said = sp.csr_array((wanting[wanted.indices], wanted.indices, wanted.indptr), shape=wanted.shape)
    said = _of_length_1(said)
    dim = min(config.dim, max(1, min((np.diff(wanted.indptr) > 0).sum(), (buyers > 0).sum()) // 4))
    directions = leading_directions(said, sp.csr_array(said.T.tocsr()), int(dim), config.n_passes, rng)
    made = Parts(_empty(0, n_products), rarity, wanting, directions.astype(np.float32))
    return Parts(made.weighed(parts), rarity, wanting, made.directions)


@dataclass(frozen=True, eq=False)
class BundleSignals:
    """What leads from a customer to bundles.

    Attributes
    ----------
    weight, like_weight : float32 [n_bundles]
        Decayed purchases of each; and of the bundles of like parts, each as much as it is like.
    walk_bundles : CSR float32 [n_bundles, n_bundles]
    walk_products : CSR float32 [n_products, n_bundles]
        Where the walk leads to from each.
    linear : CSR float32 [n_bundles, n_bundles]
        Weights of the linear model, its diagonal 0.
    linear_taste : float32 [dim, n_bundles]
        The same of the directions of taste.
    """

    parts: Parts
    weight: Float32s
    like_weight: Float32s
    walk_bundles: sp.csr_array
    walk_products: sp.csr_array
    linear: sp.csr_array
    linear_taste: Float32s

    @classmethod
    def empty(cls) -> Self:
        """Know of no bundle."""
        none, nothing = np.zeros(0, np.float32), _empty(0, 0)
        return cls(Parts.empty(), none, none, nothing, nothing, nothing, np.zeros((1, 0), np.float32))

    @property
    def n_bundles(self) -> int:
        """Bundles that are known."""
        return len(self.weight)

    @property
    def n_products(self) -> int:
        """Products that are known."""
        return len(self.parts.rarity)


@dataclass(frozen=True, eq=False)
class Shopper:
    """A customer as the signals see him.

    Attributes
    ----------
    bundles, products : int32
        What he wants of each, known to the signals, ascending.
    """

    bundles: Int32s
    products: Int32s

    @cached_property
    def is_stranger(self) -> bool:
        """Whether nothing is known of him."""
        return not len(self.bundles) and not len(self.products)


def signal_matrix(shopper: Shopper, signals: BundleSignals, more: sp.csr_array, product_share: float) -> Float32s:
    """Return what speaks for each bundle: float32 [n_bundles + n_more, n_signals], columns `SIGNALS`.

    `more` [n_more, n_products] are parts of bundles that came after training (`Parts.weighed`): nobody had bought them.
    """
    parts = sp.vstack([signals.parts.rows, more], format="csr") if more.shape[0] else signals.parts.rows
    n, n_more = parts.shape[0], more.shape[0]
    found: dict[str, Float32s] = {}
    of_bundles, of_products = (
        _sum_of_rows(signals.walk_bundles, shopper.bundles), _sum_of_rows(signals.walk_products, shopper.products),
    )  # fmt: skip
    wants = max(len(shopper.bundles) + product_share * len(shopper.products), 1e-9)
    taste = np.einsum("j,ji->i", signals.parts.taste(shopper.products), signals.linear_taste)
    linear = _sum_of_rows(signals.linear, shopper.bundles) + taste
    walk = (of_bundles + product_share * of_products) / wants
    for name, value in (
        ("walk", walk), ("walk_bundles", of_bundles), ("walk_products", of_products), ("linear", linear),
        ("linear_taste", taste), ("weight", signals.weight),
    ):  # fmt: skip
        found[name] = np.append(value, np.zeros(n_more)).astype(np.float32)
    for name in ("walk", "linear"):
        found[f"share_{name}"] = found[name] / max(float(found[name].max(initial=0.0)), 1e-9)
        order = np.argsort(-found[name], kind="stable")
        place = np.empty(n, np.float32)
        place[order] = np.arange(n)
        found[f"rank_{name}"] = np.log1p(place)
    found |= _of_parts(shopper, signals, parts)
    alike = more @ (signals.parts.rows.T @ signals.weight) if n_more else np.zeros(0)
    found["like_weight"] = np.append(signals.like_weight, alike).astype(np.float32)
    found["n_bundles"] = np.full(n, len(shopper.bundles), np.float32)
    found["n_products"] = np.full(n, len(shopper.products), np.float32)
    return np.stack([found[name] for name in SIGNALS], axis=1)


def _of_parts(shopper: Shopper, signals: BundleSignals, parts: sp.csr_array) -> dict[str, Float32s]:
    """What the parts of each bundle have in common with a customer's products and bundles."""
    own = np.zeros(parts.shape[1], np.float32)
    own[shopper.products] = 1.0
    held = sp.csr_array((np.ones(parts.nnz, np.float32), parts.indices, parts.indptr), shape=parts.shape)
    size = np.diff(parts.indptr).astype(np.float32)
    bought = held @ own
    rare = held @ (own * signals.parts.wanting**2)
    mine = signals.parts.rows[shopper.bundles]
    near = np.asarray((parts @ mine.T).toarray(), np.float32).reshape(parts.shape[0], len(shopper.bundles))
    near[shopper.bundles, np.arange(len(shopper.bundles))] = 0.0  # itself says nothing
    return {
        "parts_bought": bought, "parts_share": rare / np.sqrt(np.maximum(size, 1.0)), "size": size,
        "parts_like": near.sum(axis=1), "parts_nearest": near.max(axis=1, initial=0.0),
    }  # fmt: skip


def fit_signals(
    parts: Parts, has: sp.csr_array, wants: sp.csr_array, weight: Float32s, c: SignalConfig
) -> BundleSignals:  # fmt: skip
    """Count what leads to bundles, given who `has` which bundle and `wants` which product (CSR, entries 1).

    Cost n_modelled^3 multiplications for the linear model, and for the walk Σ_u d_u · b_u (all wants × bundles).
    """
    linear, taste = _linear(parts, has, wants, c)
    walk_bundles, walk_products = _walks(has, wants, c)
    alike = parts.rows @ (parts.rows.T @ weight) - np.asarray(parts.rows.power(2).sum(axis=1)).ravel() * weight
    return BundleSignals(
        parts, weight, np.maximum(alike, 0.0).astype(np.float32), walk_bundles, walk_products, linear, taste
    )  # fmt: skip


def _walks(has: sp.csr_array, wants: sp.csr_array, c: SignalConfig) -> tuple[sp.csr_array, sp.csr_array]:
    """From each bundle, and each product, over the customers who want it, to their bundles."""
    wealth = np.diff(has.indptr) + c.product_share * np.diff(wants.indptr)
    arrive = _scaled_rows(has, 1.0 / np.maximum(wealth, 1e-9))
    walks = []
    for matrix, own in ((has, False), (wants, True)):
        turned = sp.csr_array(matrix.T.tocsr())
        leave = _scaled_rows(turned, 1.0 / np.maximum(np.diff(turned.indptr), 1))
        walks.append(strongest_of_product(leave, arrive, c.n_neighbours, c.block_pairs, own=own))
    return walks[0], walks[1]


def no_bundles(n_products: int) -> sp.csr_array:
    """Return the parts of no bundle at all: CSR float32 [0, n_products]."""
    return _empty(0, n_products)


def _empty(n: int, m: int) -> sp.csr_array:
    return sp.csr_array((np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(n + 1, np.int64)), shape=(n, m))


def _linear(
    parts: Parts, has: sp.csr_array, wants: sp.csr_array, c: SignalConfig
) -> tuple[sp.csr_array, Float32s]:  # fmt: skip
    """Invert the Gram matrix of bundles and taste over the customers who have bundles."""
    n_bundles, dim = has.shape[1], parts.directions.shape[1]
    owners = np.flatnonzero(np.diff(has.indptr)).astype(np.int64)
    buyers = np.bincount(has.indices, minlength=n_bundles)
    most = max(int(np.sqrt(c.memory_mb * 1e6 / BYTES_PER_PAIR)) - dim, 1)
    best = np.argsort(-buyers, kind="stable")[:most]
    modelled = np.sort(best[buyers[best] > 0]).astype(np.int32)
    if not len(modelled):
        return _empty(n_bundles, n_bundles), np.zeros((dim, n_bundles), np.float32)
    owned = sp.csr_array(has[owners][:, modelled])
    said = _of_length_1(_scaled_columns(wants[owners], parts.wanting))
    taste = np.asarray(said @ parts.directions, np.float32)
    scale = np.float32(np.sqrt(c.taste_share * owned.nnz / max(float((taste**2).sum()), 1e-9)))
    taste *= scale
    gram = np.block([[(owned.T @ owned).toarray(), owned.T @ taste], [(owned.T @ taste).T, taste.T @ taste]])
    gram = np.asfortranarray(gram, np.float32)
    gram[np.diag_indices(len(gram))] += np.float32(c.regularization * owned.nnz / len(modelled))
    factor, _ = scipy.linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    n = len(modelled)
    block = np.tril(inverse[:n, :n], -1)
    weights = (block + block.T) / -np.diag(inverse)[None, :n]
    by_taste = np.zeros((dim, n_bundles), np.float32)
    by_taste[:, modelled] = inverse[n:, :n] / -np.diag(inverse)[None, :n] * scale
    return _strongest_weights(weights, modelled, n_bundles, c.n_neighbours), by_taste


def _strongest_weights(weights: Float32s, modelled: Int32s, n_bundles: int, limit: int) -> sp.csr_array:
    """Keep each row's `limit` greatest weights, whatever their sign: CSR float32 [n_bundles, n_bundles]."""
    n = len(modelled)
    kept = np.sort(np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :limit], axis=1)
    values = np.take_along_axis(weights, kept, axis=1)
    counts = np.zeros(n_bundles, np.int64)
    counts[modelled] = kept.shape[1] if n else 0
    indptr = np.append(0, np.cumsum(counts))
    return sp.csr_array((values.ravel(), modelled[kept].ravel().astype(np.int32), indptr), (n_bundles, n_bundles))


def _sum_of_rows(matrix: sp.csr_array, rows: Int32s) -> Float32s:
    total: Float32s = matrix[rows].T @ np.ones(len(rows), np.float32)
    return total


def _scaled_rows(matrix: sp.csr_array, by: np.ndarray) -> sp.csr_array:
    data = (matrix.data * np.repeat(by, np.diff(matrix.indptr))).astype(np.float32)
    return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _scaled_columns(matrix: sp.csr_array, by: Float32s) -> sp.csr_array:
    return sp.csr_array((by[matrix.indices], matrix.indices, matrix.indptr), shape=matrix.shape)


def _of_length_1(matrix: sp.csr_array) -> sp.csr_array:
    length = np.sqrt(np.asarray(matrix.power(2).sum(axis=1)).ravel())
    return _scaled_rows(matrix, 1.0 / np.maximum(length, 1e-9))
