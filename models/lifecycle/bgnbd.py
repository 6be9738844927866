"""BG/NBD: how often customers buy while they are customers, and whether they still are.

While alive a customer buys at random at a rate of his own, Gamma(r, alpha) over customers; after each purchase he stops
for good with a probability of his own, Beta(a, b) (Fader, Hardie and Lee, Marketing Science 24(2), 2005). There who has
bought once is alive for certain; `dies_at_once` lets him stop after the first purchase too (MBG/NBD: Batislam, Denizel
and Filiztekin, Int. J. Research in Marketing 24(3), 2007), so that silence tells of him as well.

A customer is three numbers: x repeat purchases, the last of them t_x after the first, observed for `age` since the
first; t_x and age in one unit, which is the unit of alpha. Everything is float64 [n].
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, log_expit

from features.arrays import Float64s

LEAST_REPEATERS: Final = 50  # customers who came back; with fewer the likelihood is flat and a prior must help
PRIOR_SHAPES: Final = (0.8, 0.7, 3.0)  # r, a, b: between grocers, whose customers hardly leave, and a record shop
PRIOR_SPREAD: Final = 1.0  # of the logarithms around them
_LOG_BOUND: Final = 11.0
_AT_ONCE: Final = 4096  # customers integrated together: bounds memory
_NODES: Final = np.arange(121, dtype=np.float64)
_FAR: Final = 45.0  # e^-45 of the weight lies beyond
_TINY: Final = 1e-280


@dataclass(frozen=True, slots=True)
class Customers:
    """The three numbers of each customer: float64 [n] each."""

    x: Float64s
    t_x: Float64s
    age: Float64s

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class BgNbd:
    """The four parameters of a shop; `alpha` in the unit of time of the customers."""

    r: float
    alpha: float
    a: float
    b: float
    dies_at_once: bool = False

    def log_likelihood(self, who: Customers) -> Float64s:
        """Log-likelihood of each customer (Fader et al. 2005, eq. 6), finite for every x ≥ 0 and t_x ≤ age."""
        chances = int(self.dies_at_once)  # that he stopped at the first purchase
        rate = self.r + who.x
        bought = gammaln(rate) - gammaln(self.r) + self.r * np.log(self.alpha)
        stays = betaln(self.a, self.b + who.x + chances)
        stayed = stays - rate * np.log(self.alpha + who.age)
        n_stops = who.x + chances
        stops = betaln(self.a + 1, self.b + np.maximum(n_stops - 1, 0))
        left = np.where(n_stops > 0, stops - rate * np.log(self.alpha + who.t_x), -np.inf)
        total: Float64s = bought - betaln(self.a, self.b) + np.logaddexp(stayed, left)
        return total

    def p_alive(self, who: Customers) -> Float64s:
        """Probability that a customer still is one, from 0 to 1; 1 for who bought once, unless `dies_at_once`."""
        n_stops = who.x + int(self.dies_at_once)
        with np.errstate(divide="ignore"):  # 0 purchases after which he could have stopped: odds of 0
            odds = np.where(n_stops > 0, np.log(self.a) - np.log(self.b + np.maximum(n_stops, 1) - 1), -np.inf)
        silence = np.log1p((who.age - who.t_x) / (self.alpha + who.t_x))
        alive: Float64s = expit(-(odds + (self.r + who.x) * silence))
        return alive

    def expected(self, span: float, who: Customers) -> Float64s:
        """Purchases expected within `span` from now, at least 0 (what Fader et al. 2005, eq. 10, says in closed form).

        Integrated over the probability p of stopping, which is Beta(a, b + x) for who is alive:
        E[(1 - (1 + p span / (alpha + age))^-(r + x)) / p]. The closed form needs a hypergeometric function that SciPy
        gives as NaN or wrong by orders for young customers of a shop that hardly loses any; this agrees with it to 1e-9
        where it is sound. Cost: about 20 µs a customer.
        """
        stays = self.b + who.x + int(self.dies_at_once)
        power, reach = self.r + who.x, span / (self.alpha + who.age)
        found = np.empty(len(who))
        for start in range(0, len(who), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            found[rows] = _bought_while_alive(self.a, stays[rows], power[rows], reach[rows])
        return found * self.p_alive(who)


def _bought_while_alive(a: float, b: Float64s, power: Float64s, reach: Float64s) -> Float64s:
    """Integrate by the trapezoidal rule over logit(p) = mode + width sinh(u): exact to rounding for smooth tails."""
    mode, width = np.log(a) - np.log(b), 1 / np.sqrt(1 + np.minimum(a, b))
    low, high = -np.arcsinh(_FAR / min(a, 1.0) / width), np.arcsinh(_FAR / np.minimum(b, 1.0) / width)
    step = (high - low) / (len(_NODES) - 1)
    u = low[:, None] + step[:, None] * _NODES
    logit = mode[:, None] + width[:, None] * np.sinh(u)
    log_p = log_expit(logit)
    weight = np.exp(a * log_p + b[:, None] * log_expit(-logit) - betaln(a, b)[:, None]) * np.cosh(u)
    p = np.maximum(np.exp(log_p), _TINY)
    bought = -np.expm1(-power[:, None] * np.log1p(p * reach[:, None])) / p
    total: Float64s = (weight * bought).sum(axis=1) * step * width
    return total


@dataclass(frozen=True, slots=True)
class Fit:
    """Parameters, the log-likelihood at them, and whether a prior had to help."""

    model: BgNbd
    log_likelihood: float
    with_prior: bool


def prior_of(gap: float, *, dies_at_once: bool) -> BgNbd:
    """Return what is believed of a shop whose customers typically buy every `gap`."""
    r, a, b = PRIOR_SHAPES
    return BgNbd(r, r * max(gap, 1e-3), a, b, dies_at_once)


def fit_bgnbd(who: Customers, gap: float, *, dies_at_once: bool = False) -> Fit:
    """Fit by maximum likelihood; where fewer than `LEAST_REPEATERS` came back, by maximum a posteriori.

    Parameters
    ----------
    gap : float
        A typical time between purchases, in the customers' unit: where the search starts and the prior stands.

    The search is deterministic; equal customers are weighed, so its cost is that of the distinct ones (about 150
    evaluations).
    """
    prior = prior_of(gap, dies_at_once=dies_at_once)
    if not len(who):
        return Fit(prior, 0.0, with_prior=True)
    rows, weight = np.unique(np.stack([who.x, who.t_x, who.age], axis=1), axis=0, return_counts=True)
    distinct, n = Customers(*np.ascontiguousarray(rows.T)), len(who)
    with_prior = int((who.x > 0).sum()) < LEAST_REPEATERS
    centre = np.log([prior.r, prior.alpha, prior.a, prior.b])

    def model_at(point: Float64s) -> BgNbd:
        r, alpha, a, b = np.exp(point).tolist()
        return BgNbd(r, alpha, a, b, dies_at_once)

    def loss(point: Float64s) -> float:
        doubt = float((((point - centre) / PRIOR_SPREAD) ** 2).sum()) / 2 if with_prior else 0.0
        return (doubt - float(model_at(point).log_likelihood(distinct) @ weight)) / n

    found = minimize(
        loss, centre, method="L-BFGS-B", bounds=[(-_LOG_BOUND, _LOG_BOUND)] * 4,
        options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9},
    )  # fmt: skip
    model = model_at(found.x)
    return Fit(model, float(model.log_likelihood(distinct) @ weight), with_prior)
