"""Choosing an audience from customers in the order of their probability: budget, caps, holdout, expected responses.

Pure: who may be asked at all (consent, exclusions) is known to the caller, service or batch, who offers one customer
after the other.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from features.ids import stable_hash

_FULL_HASH: Final = float(2**64)
_DUST: Final = 1e-9  # a budget of 0.3 at 0.1 each pays for three


@dataclass(frozen=True, slots=True)
class Budget:
    """How many touches are paid for: `customers` of them, or what `money` pays at `cost` each; the less of the two."""

    customers: int | None = None
    money: float | None = None
    cost: float = 0.0

    @property
    def size(self) -> int | None:
        """Most customers in the list; None: no limit."""
        paid = None if self.money is None or self.cost <= 0 else int(self.money / self.cost + _DUST)
        limits = [limit for limit in (self.customers, paid) if limit is not None]
        return min(limits) if limits else None


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many customers that share a value of an attribute; who has none share `(none)`."""

    by: str
    most: int


@dataclass(frozen=True, slots=True)
class Rules:
    """How a list is chosen.

    Attributes
    ----------
    holdout_share : float
        Share of those who would be in the list that is kept out of it, so that its effect can be measured.
    seed : str
        Draws the holdout: the same customer is held out under the same seed, whatever else the list holds.
    """

    budget: Budget
    least_probability: float = 0.0
    caps: tuple[Cap, ...] = ()
    holdout_share: float = 0.0
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One chosen customer: row in the release, canonical id and probability."""

    customer_idx: int
    customer_id: str
    probability: float


def is_held_out(customer_id: str, share: float, seed: str) -> bool:
    """Whether a customer is kept out: a fair draw by his id."""
    return stable_hash(f"holdout:{seed}:{customer_id}") / _FULL_HASH < share


@dataclass(slots=True)
class Selection:
    """A list in the making: offer customers, the most likely first, until it is full."""

    rules: Rules
    listed: list[Member] = field(default_factory=list)
    held_out: list[Member] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    _taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        """Whether the budget is spent."""
        size = self.rules.budget.size
        return size is not None and len(self.listed) >= size

    @property
    def missing(self) -> int | None:
        """How many more are paid for; None: no limit."""
        size = self.rules.budget.size
        return None if size is None else max(size - len(self.listed), 0)

    def refuse(self, why: str) -> None:
        """Count a customer whom the caller leaves out."""
        self.left_out[why] += 1

    def offer(self, member: Member, attributes: Mapping[str, str]) -> None:
        """Take a customer into the list or its holdout, or leave him out; twice the same person is one.

        Caps hold for list and holdout together, so that both are alike.
        """
        if self.is_full or member.customer_id in self._seen:
            return
        self._seen.add(member.customer_id)
        rules = self.rules
        if member.probability < rules.least_probability:
            self.refuse("below_probability")
            return
        groups = [(cap.by, attributes.get(cap.by, "(none)")) for cap in rules.caps]
        if any(self._taken[group] >= cap.most for group, cap in zip(groups, rules.caps, strict=True)):
            self.refuse("cap")
            return
        self._taken.update(groups)
        held = is_held_out(member.customer_id, rules.holdout_share, rules.seed)
        (self.held_out if held else self.listed).append(member)


def expected(members: list[Member]) -> float:
    """Sum of the probabilities: how many are expected to respond."""
    return sum(member.probability for member in members)
