"""The FAISS index: flat inner products for few vectors, a graph (HNSW) for many; the only door to faiss."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import faiss
import numpy as np

from features.arrays import Float32s, Int64s
from features.errors import ArtifactCorrupt
from models.index.exact import check_vector

FILE: Final = "index.faiss"
HNSW_LINKS: Final = 32
HNSW_BUILD_WIDTH: Final = 80
# Candidates looked at beyond those asked for; recall of the best 200 stays above .95 on the embeddings of real shops.
HNSW_SEARCH_WIDTH: Final = 64

Family = Literal["flat", "hnsw"]


@dataclass(frozen=True, eq=False)
class FaissIndex:
    """A FAISS index over rows 0 … n-1 by inner product; `index` is FAISS's own object."""

    index: Any

    @property
    def n_items(self) -> int:
        """Number of vectors."""
        return int(self.index.ntotal)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.index.d)

    def search(self, vector: Float32s, k: int) -> tuple[Int64s, Float32s]:
        """Return the k best rows and their inner products, ties by row; fewer when the index holds or finds fewer."""
        check_vector(vector, self.dim)
        k = min(k, self.n_items)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        faiss.omp_set_num_threads(1)
        wanted = np.ascontiguousarray(vector, np.float32)[None]
        if isinstance(self.index, faiss.IndexHNSW):
            width = faiss.SearchParametersHNSW(efSearch=k + HNSW_SEARCH_WIDTH)  # type: ignore[attr-defined] # not in its stubs
            scores, rows = self.index.search(wanted, k, params=width)
        else:
            scores, rows = self.index.search(wanted, k)
        score, row = scores[0][rows[0] >= 0], rows[0][rows[0] >= 0]
        order = np.lexsort((row, -score))
        return row[order], score[order]

    def save(self, directory: Path) -> None:
        """Write FAISS's own file format below `directory`."""
        faiss.write_index(self.index, str(directory / FILE))

    @classmethod
    def load(cls, directory: Path) -> "FaissIndex":
        """Read it back with shared pages (`IO_FLAG_MMAP_IFC`); a file FAISS cannot read is `ArtifactCorrupt`.

        FAISS checks the structure of the file, not every byte: flipped bits are found by the release's checksums.
        """
        path = directory / FILE
        try:
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
        except RuntimeError as error:
            reason = str(error).rsplit("Error: ", 1)[-1].splitlines()[0][:120]
            raise ArtifactCorrupt(str(path), f"is not a readable FAISS index ({reason})") from error


def build_faiss_index(vectors: Float32s, family: Family) -> FaissIndex:
    """Build an index over the rows of `vectors` float32 [n_items, dim] on one thread: the same rows, the same graph."""
    faiss.omp_set_num_threads(1)
    dim = vectors.shape[1]
    index: Any = faiss.IndexFlatIP(dim)
    if family == "hnsw":
        index = faiss.IndexHNSWFlat(dim, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_BUILD_WIDTH
    if len(vectors):
        index.add(np.ascontiguousarray(vectors, np.float32))
    return FaissIndex(index)
