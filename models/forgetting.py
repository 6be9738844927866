"""Customers who are to be forgotten by fitted models, and their rows and columns taken out of matrices."""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from features.arrays import Float32s, Int32s


@dataclass(frozen=True, eq=False)
class Gone:
    """Whom the models shall not know any more.

    Attributes
    ----------
    customer_idx : int32 [n]
        Their indexes; everybody else keeps his own.
    attributes : frozenset of (name, value)
        Attributes that nobody else has: a value that named only them would still tell of them.
    """

    customer_idx: Int32s
    attributes: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def among(self, n_customers: int) -> Int32s:
        """Return the indexes of those whom a table of `n_customers` rows holds: an empty part holds nobody."""
        return self.customer_idx[self.customer_idx < n_customers]


def emptied_rows(matrix: sp.csr_array, rows: Int32s) -> sp.csr_array:
    """Return a matrix of the same shape without the entries of some rows."""
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return _kept(matrix, row_of, ~np.isin(row_of, rows))


def emptied_columns(matrix: sp.csr_array, columns: Int32s) -> sp.csr_array:
    """Return a matrix of the same shape without the entries of some columns."""
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return _kept(matrix, row_of, ~np.isin(matrix.indices, columns))


def _kept(matrix: sp.csr_array, row_of: "np.ndarray[tuple[int], np.dtype[np.int64]]", keep: np.ndarray) -> sp.csr_array:
    indptr = np.zeros(matrix.shape[0] + 1, matrix.indptr.dtype)
    np.cumsum(np.bincount(row_of[keep], minlength=matrix.shape[0]), out=indptr[1:])
    return sp.csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)


def zeroed_rows(array: Float32s, rows: Int32s) -> Float32s:
    """Return a copy with zeros in some rows."""
    copy = np.array(array)
    copy[rows[rows < len(copy)]] = 0.0  # an empty table holds nobody
    return copy
