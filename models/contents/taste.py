"""Groups of like readers: what lets a reading say something of taste without saying who read.

Contents are read for days and customers stay for months, so neighbours of a content are out of date before they are
known. Groups of readers are not: they are made once a release, of who read the same (Deerwester et al. 1990, latent
semantic analysis of customers by contents, then k-means), and a piece published a minute ago has a taste as soon as
somebody of a known group has read it.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD

from features.arrays import AnyArray, Float32s, Int32s
from features.dataset import Dataset
from models.contents.pulse import is_reading
from models.forgetting import Gone

ENOUGH_READ: Final = 3  # different contents, before a customer is put into a group
READERS_PER_GROUP: Final = 12
FADE: Final = 0.85  # what a content counts beside the one read after it
REMEMBERED: Final = 20
DOUBT: Final = 2.0  # readings by nobody in particular that every content is thought to have


@dataclass(frozen=True, eq=False)
class Taste:
    """Groups of readers.

    Attributes
    ----------
    groups : float32 [n_groups + 1, dim]
        Direction of each group, of length 1; that of group 0, those who are not known, is zero.
    group_of : int32 [n_customers]
        Group of each customer of the release; 0 where he has read too little.
    """

    groups: Float32s
    group_of: Int32s

    @classmethod
    def none(cls, n_customers: int) -> Self:
        """Know no group."""
        return cls(np.zeros((1, 1), np.float32), np.zeros(n_customers, np.int32))

    @property
    def n_groups(self) -> int:
        """Number of groups, that of the unknown not counted."""
        return len(self.groups) - 1

    def group(self, customer_idx: int) -> int:
        """Return a customer's group; 0 for a stranger."""
        return int(self.group_of[customer_idx]) if 0 <= customer_idx < len(self.group_of) else 0

    def of_contents(self, readings: Float32s) -> Float32s:
        """Return the taste of contents with some readings by group [n, n_groups + 1]: [n, dim], shorter when few."""
        total = readings.sum(axis=1, keepdims=True) + DOUBT
        return np.asarray((readings / total) @ self.groups, np.float32)

    def of_reader(self, read: Float32s, group: int) -> Float32s:
        """Return the direction [dim] of who belongs to a group and has read contents of some tastes [n, dim], in order.

        Zero when nothing is known.
        """
        weight = FADE ** np.arange(len(read) - 1, -1, -1)
        lately = _unit(np.einsum("i,ij->j", weight, read)) if len(read) else np.zeros(self.groups.shape[1])
        return _unit(lately + self.groups[group]).astype(np.float32)

    def without(self, gone: Gone) -> Self:
        """Return the groups with nobody knowing any more to which of them some customers belonged."""
        group_of = np.array(self.group_of)
        group_of[gone.among(len(group_of))] = 0
        return replace(self, group_of=group_of)


def fit_taste(dataset: Dataset, dim: int, most_groups: int, seed: int) -> Taste:
    """Put the readers of a dataset into groups; none where there are too few of them."""
    n_customers, n_contents = len(dataset.customers), len(dataset.contents)
    events = dataset.content_events
    rows = is_reading(events.kind)
    read = sp.csr_array(
        (np.ones(int(rows.sum()), np.float32), (events.customer_idx[rows], events.item_idx[rows])),
        shape=(n_customers, n_contents),
    )
    read.sum_duplicates()
    read.data[:] = 1.0
    readers = np.flatnonzero(np.diff(read.indptr) >= ENOUGH_READ)
    n_groups = min(most_groups, len(readers) // READERS_PER_GROUP)
    dim = min(dim, n_contents - 1, len(readers) - 1)
    if n_groups < 2 or dim < 1:
        return Taste.none(n_customers)
    # What everybody reads says little of anybody.
    rare = (1.0 / np.sqrt(np.maximum(read.sum(axis=0), 1.0))).astype(np.float32)
    weighed = sp.csr_array(read[readers] * rare[None, :])
    directions = TruncatedSVD(dim, random_state=seed).fit_transform(weighed)
    directions = _unit(directions).astype(np.float32)
    made = KMeans(n_groups, n_init=2, random_state=seed).fit(directions)
    group_of = np.zeros(n_customers, np.int32)
    group_of[readers] = made.labels_ + 1
    groups = np.vstack([np.zeros(dim), _unit(made.cluster_centers_)]).astype(np.float32)
    return Taste(groups, group_of)


def _unit(directions: AnyArray) -> AnyArray:
    length = np.sqrt(np.einsum("...j,...j->...", directions, directions))[..., None]
    return np.where(length > 1e-9, directions / np.where(length > 1e-9, length, 1.0), 0.0)
