"""Which index for how many vectors."""

from typing import Final

from features.arrays import Float32s
from models.index.faiss_index import FaissIndex, Family, build_faiss_index

# Reading 2 M floats (8 MB) takes about as long as walking the graph; below that, exactness is free.
FLAT_FLOATS: Final = 2_000_000


def choose_index(n_items: int, dim: int) -> Family:
    """Return the family that answers fastest at that size: exact below about 30,000 vectors of dimension 64."""
    return "flat" if n_items * dim <= FLAT_FLOATS else "hnsw"


def build_index(vectors: Float32s) -> FaissIndex:
    """Build the index that fits the number of vectors [n_items, dim]."""
    return build_faiss_index(vectors, choose_index(*vectors.shape))
