"""The recommendation pipeline: gather, filter, score, arrange, fall back (DESIGN §4, steps 4 to 8).

Evaluation, batch and service run this one code: what serves is what was evaluated.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from features.arrays import Bools, Float32s, Int32s
from features.history import EMPTY
from models.arrivals import Arrivals
from models.config import SceneConfig
from models.explain import as_fallback, explained, explained_by_grounds
from models.gather import ask_scorers, candidates_of, gather_candidates, ordered
from models.items import ItemTable
from models.query import NO_ITEMS, Candidates, Query
from models.rank.attribution import Grounds
from models.rank.blend import Blend, blend_by_rank
from models.rank.diversity import diversified
from models.rank.explore import POOL_PER_PLACE, Chosen, explored
from models.reasons import reason
from models.seams import CandidateSource, Growing, Ranked, Ranker
from models.slate import Filters, Pick, Request, Slate

CATALOGUE: Final = "catalogue"  # where a list that stays short after all its fallbacks is filled from


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The sources of a release, its scenes and its rankers, ready to answer."""

    sources: Mapping[str, CandidateSource]
    scenes: Mapping[str, SceneConfig]
    rankers: Mapping[str, Ranker] = field(default_factory=dict)

    def recommend(self, request: Request, items: ItemTable) -> Slate:
        """Answer a request with the items as they are now; an unknown scene is a `KeyError` for the caller to word."""
        recipe = request.recipe or self.scenes[request.scene]
        query = _focused(request, recipe)
        found, degraded = gather_candidates(self.sources, recipe, query)
        blend = blend_by_rank(candidates_of(found, recipe), recipe.sources, recipe.rank_offset)
        allowed = Allowance(request, recipe, items)
        blend = blend.of(allowed.of(blend.item_idx)).head(max(recipe.ranked, POOL_PER_PLACE * request.k))
        ranked = self._ranked(query, blend, found, recipe, degraded)
        silent = tuple(degraded)
        score = request.steering.weighed(blend.item_idx, (blend if ranked is None else ranked).score).copy()
        pins = request.pins[allowed.of(request.pins)]
        picks = [Pick(int(i), 0.0, "pin", reason("pinned")) for i in pins[: request.k]]
        score[np.isin(blend.item_idx, [p.item_idx for p in picks])] = -np.inf
        chosen = self._arranged(request, blend, score, recipe, items, request.k - len(picks))
        picks += self._picks(query, blend, score, ranked, chosen, items)
        if len(picks) < request.k:
            picks += self._fallback(query, recipe, allowed, picks, request.k, degraded)
        degraded += _shortfalls(allowed, len(picks), [items.text(int(i)) for i in request.pins if i not in pins])
        return Slate(tuple(picks), tuple(degraded), _causes(allowed, picks, silent))

    def grown(self, arrivals: Arrivals) -> Self:
        """Return the pipeline whose sources know some products that came after training, where they can."""
        grown = {name: each.grown(arrivals) for name, each in self.sources.items() if isinstance(each, Growing)}
        return replace(self, sources={**self.sources, **grown})

    def _ranked(
        self, query: Query, blend: Blend, found: Mapping[str, Candidates], recipe: SceneConfig, degraded: list[str]
    ) -> Ranked | None:  # fmt: skip
        # A release without this ranker had too little to learn it from; its report says so, the blend orders.
        ranker = self.rankers.get(recipe.ranker)
        if ranker is None or not len(blend.item_idx):
            return None
        heard, silent = ask_scorers(self.sources, recipe, query, blend.item_idx)
        degraded += silent
        return ranker.order(query, blend.item_idx, {**found, **heard})

    def _arranged(
        self, request: Request, blend: Blend, score: Float32s, recipe: SceneConfig, items: ItemTable, k: int
    ) -> Chosen:  # fmt: skip
        ranked = np.lexsort((blend.item_idx, -score)).astype(np.int32)
        order: Int32s = ranked[np.isfinite(score[ranked])]
        if request.explore_seed is not None:
            return explored(order, k, request.explore_seed)
        # Diversity looks at a bounded head: what lies deeper cannot reach the first k places at any sensible decay.
        head = order[: max(10 * k, 100)]
        shown = blend.item_idx[head]
        groups = (
            (items.families(shown, recipe.category_depth), recipe.category_decay),
            (items.brand_codes[shown], recipe.brand_decay),
        )
        chosen = head[diversified(score[head], groups, k, recipe.diversity_window)]
        return Chosen(chosen, NO_ITEMS, ())

    def _picks(
        self, query: Query, blend: Blend, score: Float32s, ranked: Ranked | None, chosen: Chosen, items: ItemTable
    ) -> list[Pick]:  # fmt: skip
        grounds = (None,) * len(chosen.sure) if ranked is None else ranked.grounds(chosen.sure.astype(np.int64))
        picks = [self._pick(query, blend, score, int(r), items, g) for r, g in zip(chosen.sure, grounds, strict=True)]
        for row, share in zip(chosen.drawn, chosen.propensity, strict=True):
            picks.append(Pick(int(blend.item_idx[row]), float(score[row]), "explore", reason("explore"), share))
        return picks

    def _pick(
        self, query: Query, blend: Blend, score: Float32s, row: int, items: ItemTable, grounds: Grounds | None
    ) -> Pick:  # fmt: skip
        stage = blend.names[int(np.argmax(blend.contribution[:, row]))]
        item_idx = int(blend.item_idx[row])
        why = None if grounds is None else explained_by_grounds(grounds, self.sources, query, item_idx, items)
        why = why or explained(self.sources[stage], stage, query, item_idx, items)
        return Pick(item_idx, float(score[row]), stage, why)

    def _fallback(
        self, query: Query, recipe: SceneConfig, allowed: "Allowance", picks: list[Pick], k: int, degraded: list[str]
    ) -> list[Pick]:  # fmt: skip
        taken = {p.item_idx for p in picks}
        more: list[Pick] = []
        for name in recipe.fallback:
            if len(picks) + len(more) >= k or name not in self.sources:
                continue
            fresh = _fresh_of(self.sources[name], query, allowed, taken, k - len(picks) - len(more))
            why = as_fallback(name, query)
            more += [Pick(i, 0.0, f"fallback:{name}", why) for i in fresh]
            taken |= set(fresh)
        used = [*recipe.fallback]
        if recipe.fallback and len(picks) + len(more) < k:
            rest = allowed.whatever(taken)[: k - len(picks) - len(more)]
            more += [Pick(int(i), 0.0, f"fallback:{CATALOGUE}", reason("fallback_any")) for i in rest]
            used += [CATALOGUE] * bool(len(rest))
        if more:
            degraded.append(f"only {len(picks)} of {k} found for this scene; filled from {', '.join(used)}")
        return more


@dataclass(frozen=True, slots=True)
class Allowance:
    """Which items this request may show: stock, dates, exclusions, the caller's filters and the repeat policy."""

    request: Request
    recipe: SceneConfig
    items: ItemTable

    def of(self, item_idx: Int32s) -> Bools:
        """Return bool [n]: may be shown, in whatever stage."""
        request = self.request
        keep = self.items.showable(item_idx, request.query.at)
        for unwanted in (request.exclude, request.basket, request.query.seeds):
            if len(unwanted):
                keep &= ~np.isin(item_idx, unwanted, kind="table")
        if self.recipe.repeat_policy != "allow":
            bought = np.isin(item_idx, self._bought(), kind="table")
            keep &= bought if self.recipe.repeat_policy == "only" else ~bought
        if request.steering.rules:
            keep &= request.steering.allows(item_idx)
        return self._filtered(item_idx, keep) if request.filters != Filters() else keep

    @property
    def among(self) -> Int32s | None:
        """What alone comes into question, ascending: under `only` what was bought; None: all there is."""
        return np.unique(self._bought()[self._bought() >= 0]) if self.recipe.repeat_policy == "only" else None

    def whatever(self, taken: Collection[int]) -> Int32s:
        """Return all that may be shown but `taken`, the latest to start first, ties by index: int32 [n].

        A shop on its first day has sold nothing and may not say since when it has its products.
        """
        among = self.among
        every = np.arange(len(self.items), dtype=np.int32) if among is None else among
        free = every[self.items.showable(every, self.request.query.at)]
        free = free[self.of(free) & ~np.isin(free, list(taken))]
        return free[np.argsort(-self.items.starts_at[free], kind="stable")]

    def _bought(self) -> Int32s:
        return self.request.query.history.purchases.item_idx

    def _filtered(self, item_idx: Int32s, keep: Bools) -> Bools:
        wanted, items = self.request.filters, self.items
        if wanted.category:
            inside = [path == wanted.category or path.startswith(wanted.category + "/") for path in items.paths]
            keep &= np.array([*inside, False], np.bool_)[items.category[item_idx]]
        if wanted.brands:
            keep &= np.array([items.brands[i] in wanted.brands for i in item_idx], np.bool_)
        if wanted.price_min is not None:
            keep &= items.price[item_idx] >= wanted.price_min
        if wanted.price_max is not None:
            keep &= items.price[item_idx] <= wanted.price_max
        return keep


def _fresh_of(source: CandidateSource, query: Query, allowed: Allowance, taken: set[int], n: int) -> list[int]:
    """Return up to n items that a source would show, may be shown, and are not taken."""
    limit = n + len(taken)
    while True:
        found = source.candidates(query, limit) if allowed.among is None else ordered(source, query, allowed.among)
        fit = found.item_idx[allowed.of(found.item_idx)]
        fresh = [int(i) for i in fit if int(i) not in taken]
        if len(fresh) >= n or len(found) < limit or allowed.among is not None:
            return fresh[:n]
        limit *= 4


def _focused(request: Request, recipe: SceneConfig) -> Query:
    """Return the query as the recipe's sources shall see it: from the history, the named items or the basket."""
    if recipe.start_from == "history":
        return replace(request.query, seeds=NO_ITEMS)
    seeds = request.query.seeds if recipe.start_from == "seeds" else request.basket
    if len(seeds):
        return replace(request.query, seeds=seeds)
    # Nothing to start from: the history would answer another question, so only what is not personal may.
    return replace(request.query, seeds=NO_ITEMS, history=EMPTY, customer_idx=-1)


def _shortfalls(allowed: Allowance, n_picks: int, pins_lost: list[str]) -> list[str]:
    """Say what of the request could not be kept: pins that may not be shown, fewer places than asked for."""
    request, said = allowed.request, []
    if pins_lost:
        said.append(f"pinned but not to be shown now: {', '.join(pins_lost)}")
    if n_picks < request.k:
        said.append(f"only {n_picks} of {request.k} places filled: {_why_short(allowed)}")
    return said


def _why_short(allowed: Allowance) -> str:
    why = "nothing more may be shown" if allowed.request.filters == Filters() else "the filters leave no more"
    if allowed.among is None:
        return why
    return f"this scene shows only what was bought before, and {why if len(allowed.among) else 'nothing was'}"


def _causes(allowed: Allowance, picks: list[Pick], silent: tuple[str, ...]) -> tuple[str, ...]:
    filled = any(pick.stage.startswith("fallback:") for pick in picks)
    short = len(picks) < allowed.request.k
    return (
        *silent, *["filled from fallbacks"] * filled, *[f"shorter than asked: {_why_short(allowed)}"] * short,
    )  # fmt: skip
