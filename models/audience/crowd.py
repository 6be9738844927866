"""All customers of a shop at one moment as audiences look at them: what each is interested in, how active each is."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import scipy.sparse as sp

from features.arrays import Float32s, Float64s, Int32s
from features.dataset import Dataset
from features.history import DAY_US, Histories
from models.forgetting import Gone, emptied_rows, zeroed_rows
from models.recommenders.evidence import EvidenceConfig, pair_matrix

ACTIVITY: Final = (
    "baskets", "baskets_28d", "baskets_84d", "lines_28d", "lines_84d", "days_since_basket", "days_since_first_basket",
)  # fmt: skip
INTEREST_DAYS: Final = 90.0  # half-life of an interest
FAMILY_DEPTH: Final = 2  # parts of the category path that make a family; the whole path is the leaf


@dataclass(frozen=True, eq=False)
class Crowd:
    """What does not depend on what is to be sold.

    Attributes
    ----------
    as_of : int
        UTC µs; everything lies strictly before.
    interest : CSR float32 [n_customers, n_items]
        Decayed evidence, damped by its logarithm and by the item's popularity; rows have length 1.
    activity : float32 [n_customers, 7]
        Columns `ACTIVITY`; NaN days for who never bought.
    leaf, family, brand : int32 [n_items]
        Codes, -1 where unknown.
    """

    as_of: int
    interest: sp.csr_array
    activity: Float32s
    leaf: Int32s
    family: Int32s
    brand: Int32s

    @classmethod
    def empty(cls) -> Self:
        """Return the crowd of nobody."""
        nothing = np.empty(0, np.int32)
        nobody = sp.csr_array((np.empty(0, np.float32), nothing, np.zeros(1, np.int32)), shape=(0, 0))
        return cls(0, nobody, np.empty((0, len(ACTIVITY)), np.float32), *[nothing] * 3)

    @property
    def n_customers(self) -> int:
        """Number of customers, those who never bought included."""
        return len(self.activity)

    @property
    def n_items(self) -> int:
        """Number of products."""
        return len(self.leaf)

    def active(self, name: str) -> Float32s:
        """Return a column of `activity`: float32 [n_customers]."""
        column: Float32s = self.activity[:, ACTIVITY.index(name)]
        return column

    def without(self, gone: Gone) -> Self:
        """Return the crowd in which some customers have done nothing."""
        interest = emptied_rows(self.interest, gone.customer_idx)
        return replace(self, interest=interest, activity=zeroed_rows(self.activity, gone.customer_idx))


def see_crowd(dataset: Dataset, evidence: EvidenceConfig) -> Crowd:
    """Count; cost is a sort of the events."""
    products = dataset.products
    return Crowd(
        dataset.as_of, _interest(pair_matrix(dataset, evidence, INTEREST_DAYS)),
        _activity(dataset.product_events, dataset.as_of, len(products)), products.codes("category")[0],
        products.codes("category", FAMILY_DEPTH)[0], products.codes("brand")[0],
    )  # fmt: skip


def _interest(wanted: sp.csr_array) -> sp.csr_array:
    """Weigh evidence as words are weighed in texts: log(1 + evidence) × log of how rare the item is, unit length."""
    n_customers, n_items = wanted.shape
    rarity = np.log((n_customers + 1.0) / (np.bincount(wanted.indices, minlength=n_items) + 1.0))
    weight = np.log1p(wanted.data.astype(np.float64)) * rarity[wanted.indices]
    rows = np.repeat(np.arange(n_customers), np.diff(wanted.indptr))
    length = np.sqrt(np.bincount(rows, weight**2, n_customers))
    data = (weight / np.maximum(length, 1e-12)[rows]).astype(np.float32)
    return sp.csr_array((data, wanted.indices, wanted.indptr), shape=wanted.shape)


def _activity(events: Histories, as_of: int, n_items: int) -> Float32s:
    bought, n = events.purchases, events.n_customers
    who, day, number = bought.customer_idx, (as_of - bought.at) / DAY_US, bought.basket_idx
    basket = np.unique(number, return_index=True)[1]
    line = np.unique(number * max(n_items, 1) + bought.item_idx, return_index=True)[1]
    last, first = extremes(who[basket], day[basket], n)
    columns = [
        counts(who[basket], n), *(counts(who[basket][day[basket] <= d], n) for d in (28, 84)),
        *(counts(who[line][day[line] <= d], n) for d in (28, 84)), last, first,
    ]  # fmt: skip
    return np.column_stack(columns).astype(np.float32)


def counts(who: Int32s, n: int) -> Float64s:
    """Count rows by customer: float64 [n]."""
    return np.bincount(who, minlength=n).astype(np.float64)


def extremes(who: Int32s, days: Float64s, n: int) -> tuple[Float64s, Float64s]:
    """Return the least and the greatest of each customer's days: float64 [n] each, NaN who has none."""
    least, most = np.full(n, np.nan), np.full(n, np.nan)
    np.fmin.at(least, who, days)
    np.fmax.at(most, who, days)
    return least, most
