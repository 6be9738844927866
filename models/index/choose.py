"""Which index for how many vectors."""

from typing import Final

from features.arrays import Float32s
from models.index.faiss_index import FaissIndex, Family, build_faiss_index

# Reading 1.5 M floats (6 MB) takes about a quarter of a millisecond; below that, exactness is free.
FLAT_FLOATS: Final = 1_500_000


def choose_index(n_items: int, dim: int) -> Family:
    """Return the family that answers fastest at that size: exact below about 23,000 vectors of dimension 64."""
    return "flat" if n_items * dim <= FLAT_FLOATS else "ivf"


def build_index(vectors: Float32s) -> FaissIndex:
    """Build the index that fits the number of vectors [n_items, dim]."""
    return build_faiss_index(vectors, choose_index(*vectors.shape))
