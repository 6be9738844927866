"""The exact index: every inner product computed; the oracle of the others, and the best choice for few items."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.arrays import Float32s, Int64s
from features.errors import ArtifactCorrupt

FILE = "vectors.npy"


def check_vector(vector: Float32s, dim: int) -> None:
    """Refuse a query of another dimension than the index: a mistake of the program, so `ValueError`."""
    if vector.shape != (dim,):
        raise ValueError(f"the index holds vectors of dimension {dim}, the query has shape {vector.shape}")


@dataclass(frozen=True, eq=False)
class ExactIndex:
    """All vectors in one matrix.

    Attributes
    ----------
    vectors : float32 [n_items, dim]
    """

    vectors: Float32s

    @property
    def n_items(self) -> int:
        """Number of vectors."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def search(self, vector: Float32s, k: int) -> tuple[Int64s, Float32s]:
        """Return the k best rows and their inner products, ties by row; all rows when there are fewer."""
        check_vector(vector, self.dim)
        score = (self.vectors @ vector).astype(np.float32)
        keep = np.arange(len(score))
        if k < len(score):
            keep = np.flatnonzero(score >= np.partition(score, len(score) - k)[len(score) - k]) if k > 0 else keep[:0]
        rows = keep[np.lexsort((keep, -score[keep]))][: max(k, 0)]
        return rows, score[rows]

    def save(self, directory: Path) -> None:
        """Write the vectors below `directory`."""
        np.save(directory / FILE, self.vectors, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> "ExactIndex":
        """Read them back, memory-mapped; damage is `ArtifactCorrupt`."""
        try:
            vectors = np.load(directory / FILE, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactCorrupt(str(directory / FILE), f"cannot be read ({error})") from error
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ArtifactCorrupt(str(directory / FILE), f"holds {vectors.dtype} {vectors.shape}, not float32 rows")
        return cls(vectors)
