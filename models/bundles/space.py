"""Where products and bundles lie: directions of products, and of a bundle the mean of its parts' directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from features.arrays import Float32s, Int32s
from features.text import split_words
from models.recommenders.als import AlsModel
from models.recommenders.content_based import ContentBasedModel
from models.seams import CandidateSource

LEAST_LIKE_THEME: Final = 0.25  # cosine from which on a product is about a theme


@dataclass(frozen=True, eq=False)
class ProductSpace:
    """Directions of the products of a release: by their words, else by who wants them, else none.

    Attributes
    ----------
    vectors : float32 [n_trained, dim]
        Length 1, or 0 for a product that nothing is known of.
    described : ContentBasedModel or None
        What understands words; None where products have none.
    """

    vectors: Float32s
    described: ContentBasedModel | None = None

    @classmethod
    def of(cls, sources: Mapping[str, CandidateSource]) -> Self:
        """Take what the fitted sources know."""
        words, tastes = sources.get("content_based"), sources.get("als")
        if isinstance(words, ContentBasedModel) and words.described.any():
            return cls(words.items, words)
        if isinstance(tastes, AlsModel):
            return cls(_directions(tastes.items))
        return cls(np.zeros((0, 1), np.float32))

    def of_items(self, item_idx: Int32s) -> Float32s:
        """Return the directions of some products: float32 [n, dim], 0 for those that came after training."""
        known = (item_idx >= 0) & (item_idx < len(self.vectors))
        found = np.zeros((len(item_idx), self.vectors.shape[1]), np.float32)
        found[known] = self.vectors[item_idx[known]]
        return found

    def mean(self, item_idx: Int32s) -> Float32s:
        """Return the direction of several products together: float32 [dim], length 1 or 0."""
        together: Float32s = _directions(self.of_items(item_idx).sum(axis=0, keepdims=True))[0]
        return together

    def of_bundles(self, parts: Sequence[Int32s]) -> Float32s:
        """Return the direction of each bundle: float32 [n, dim]."""
        found = np.zeros((len(parts), self.vectors.shape[1]), np.float32)
        for row, item_idx in enumerate(parts):
            found[row] = self.mean(item_idx)
        return found

    def about(self, theme: str, limit: int) -> Int32s:
        """Return the products whose words are nearest to a theme's: int32 [≤ limit], best first."""
        if self.described is None:
            return np.empty(0, np.int32)
        direction = self.described.wording.directions([split_words(theme)])[0]
        if not direction.any():
            return np.empty(0, np.int32)
        rows, cosine = self.described.index.search(direction, limit)
        return rows[cosine >= LEAST_LIKE_THEME].astype(np.int32)


def _directions(vectors: Float32s) -> Float32s:
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    directions: Float32s = np.where(length > 1e-6, vectors / np.where(length > 1e-6, length, 1.0), 0.0).astype(
        np.float32
    )
    return directions
