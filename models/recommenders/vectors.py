"""Arithmetic that sources with embeddings share."""

import numpy as np

from features.arrays import Float32s, Int32s


def inner_products(vectors: Float32s, rows: Int32s, vector: Float32s) -> Float32s:
    """Inner product of some rows of a matrix with a vector: float32 [n], the same for a row whatever its company."""
    found: Float32s = np.einsum("ij,j->i", vectors[rows], vector).astype(np.float32)
    return found
