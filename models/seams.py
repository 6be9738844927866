"""The seams of the mathematics; each has a conformance class in `tests/conformance/` (DESIGN §3)."""

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable

from features.arrays import Float32s, Int32s, Int64s
from models.arrivals import Arrivals
from models.forgetting import Gone
from models.query import Candidates, Query
from models.rank.attribution import Grounds


@runtime_checkable
class Scorer(Protocol):
    """Scores any given items."""

    def score(self, query: Query, item_idx: Int32s) -> Float32s:
        """Return float32 [n], one score per item, NaN where it cannot say; never raises for a stranger."""
        ...


@runtime_checkable
class CandidateSource(Scorer, Protocol):
    """Finds items for a query.

    Every implementation: at most `limit` items, best first, ties by index, no duplicates, finite scores that `score`
    repeats to float32 precision; nothing when it knows nothing of the customer (a stranger without seeds), unless it is
    not personal; items already bought are *not* removed (`repeat_policy` is the pipeline's); the query is not changed.
    """

    def candidates(self, query: Query, limit: int) -> Candidates:
        """Return the best `limit` items for the query."""
        ...


class Ranked(Protocol):
    """Candidates as a ranker scored them."""

    @property
    def score(self) -> Float32s:
        """Scores, float32 [n], higher is better; comparable within one query only."""
        ...

    def grounds(self, rows: Int64s) -> tuple[Grounds, ...]:
        """Return what raised the scores of some of them."""
        ...


class Ranker(Protocol):
    """Orders the candidates that a recipe's sources gathered."""

    def order(self, query: Query, item_idx: Int32s, found: Mapping[str, Candidates]) -> Ranked:
        """Score some candidates; `found` is each source's answer."""
        ...


@runtime_checkable
class VectorIndex(Protocol):
    """Nearest vectors by inner product; the exact index is the oracle of every other."""

    @property
    def n_items(self) -> int:
        """Number of vectors."""
        ...

    def search(self, vector: Float32s, k: int) -> tuple[Int64s, Float32s]:
        """Return the k best (row numbers int64 [≤ k], inner products float32 [≤ k]) for a vector [dim], best first."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """A source that can name the item of the query that led to another."""

    def because(self, query: Query, item_idx: int) -> int:
        """Return the item of the history (or seeds) that speaks most for `item_idx`, -1 when none does."""
        ...


@runtime_checkable
class ManySided(CandidateSource, Protocol):
    """A source that can say more of an item than its score, which is a sum, lets through.

    An aspect's values mean the same in every query and after every fit (shares, probabilities): a ranker hears them as
    they are, while scores are only compared within one query.
    """

    def aspect(self, name: str, query: Query, item_idx: Int32s) -> Float32s:
        """Return float32 [n], NaN for items unknown to the source and for a stranger; a name it lacks is a KeyError."""
        ...


@runtime_checkable
class Growing(CandidateSource, Protocol):
    """A source that can take in products which came after training, by what is told of them.

    What it says of the products it knew stays the same to the bit, and so does what it says of the same arrivals told
    one by one or all at once, in whatever order; told again, a product is what was told last. Costs what the arrivals
    cost, with no more than a copy of a few numbers for each product known.
    """

    def grown(self, arrivals: Arrivals) -> Self:
        """Return the source that knows them too; this one stays as it is."""
        ...


@runtime_checkable
class ForgettingPart(Protocol):
    """A part of a release beside its sources that holds something of single customers; as `Forgetting`."""

    def without(self, gone: Gone) -> Self:
        """Return the part with nothing of them left; what it holds of others stays the same to the bit."""
        ...


@runtime_checkable
class TellingPart(Protocol):
    """A source or part that has something to say of how it was made: what it learned from how much, and how well."""

    @property
    def note(self) -> str:
        """One sentence for the report of a training; empty when there is nothing to say."""
        ...


@runtime_checkable
class Forgetting(CandidateSource, Protocol):
    """A source that holds something of single customers: rows, columns, attributes that only they have.

    Whoever holds nothing of the kind need not be one; the conformance tests find a source that does and is not.
    """

    def without(self, gone: Gone) -> Self:
        """Return the source with nothing of them left; what it holds of others stays the same to the bit."""
        ...
