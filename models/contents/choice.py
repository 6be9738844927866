"""Choosing among contents: which come into question for a customer, and in which order."""

from typing import Final

import numpy as np

from features.arrays import AnyArray, Float32s, Float64s, Int32s
from models.contents.config import PoolConfig, WeightConfig
from models.contents.present import Present
from models.contents.pulse import DAYS, HOUR
from models.contents.signals import SIGNALS, Reader, heat, signal_matrix
from models.index.faiss_index import FaissIndex
from models.items import ItemTable
from models.rank.ranker import Forests

RULE_WEIGHTS: Final = WeightConfig()
_AT: Final = {name: number for number, name in enumerate(SIGNALS)}


def embeddings(words: Float32s, tastes: Float32s) -> Float32s:
    """Return contents as the index holds them: text and taste side by side, float32 [n, dim]."""
    return np.ascontiguousarray(np.hstack([words, tastes]), np.float32)


def find_contents(
    reader: Reader, allowed: Int32s, present: Present, index: FaissIndex, config: PoolConfig
) -> Int32s:  # fmt: skip
    """Return what comes into question among what may be shown, ascending: int32 [n]; cost linear in `allowed`."""
    at = reader.query.at
    counts = present.pulse.counts(allowed, at)
    readings = present.pulse.groups[allowed]
    liked = np.einsum("ij,j->i", readings, present.taste.groups @ reader.taste) * (counts[:, DAYS] > 0)
    found = [
        _best(heat(present, allowed, at), config.warm), _best(present.published[allowed], config.new),
        _best_above_zero(counts[:, HOUR], config.hour), _best_above_zero(counts[:, DAYS], config.days),
        _best_above_zero(liked, config.taste),
    ]  # fmt: skip
    pool = allowed[np.unique(np.concatenate(found))]
    on_air = allowed[present.is_on_air(allowed, at)]
    return np.unique(np.concatenate([pool, on_air, _near(reader, allowed, present, index, config.near)]))


def _near(reader: Reader, allowed: Int32s, present: Present, index: FaissIndex, limit: int) -> Int32s:
    if not limit or not index.n_items:
        return allowed[:0]
    read = reader.read[present.has_text[reader.read]][-10:]
    text = present.words[read].mean(axis=0) if len(read) else np.zeros(present.words.shape[1], np.float32)
    wanted = np.concatenate([text, reader.taste]).astype(np.float32)
    if not wanted.any():
        return allowed[:0]
    rows, _ = index.search(wanted, 4 * limit + len(reader.read))  # what was read lies nearest and may not be shown
    near = rows.astype(np.int32)
    return near[np.isin(near, allowed)][:limit]


def order_contents(
    reader: Reader, pool: Int32s, present: Present, items: ItemTable, forests: Forests, weights: WeightConfig
) -> tuple[Float32s, Float32s]:  # fmt: skip
    """Score contents: (float32 [n] in (0, 1), higher is better within one answer; their signals [n, n_signals])."""
    matrix = signal_matrix(reader, pool, present, items)
    # Positive and bounded, as exploration and rules that weigh need it.
    score = forests.ordered(matrix)[0] if forests.boosters else by_rule(matrix, weights)
    live = present.is_on_air(pool, reader.query.at)
    score = score + weights.stage * matrix[:, _AT["stage"]] + weights.live * live
    return (1.0 / (1.0 + np.exp(-score))).astype(np.float32), matrix


def by_rule(matrix: Float32s, weights: WeightConfig = RULE_WEIGHTS) -> Float64s:
    """Freshness first, then what is known of the customer: the order of a shop with too little to learn from."""
    known = np.nan_to_num(matrix.astype(np.float64))
    return np.asarray(
        known[:, _AT["heat"]] + weights.text * known[:, _AT["text"]] + weights.taste * known[:, _AT["taste_mean"]]
        + weights.linked * (known[:, _AT["linked"]] + known[:, _AT["linked_kind"]])
    )  # fmt: skip


def signal(matrix: Float32s, name: str) -> Float32s:
    """Return one signal of some contents: float32 [n]."""
    found: Float32s = matrix[:, _AT[name]]
    return found


def _best(value: AnyArray, n: int) -> AnyArray:
    """Rows of the n greatest values, ties by row."""
    if n >= len(value) or not n:
        return np.arange(min(n, len(value)))
    # The cut keeps every tie of the last value, so that the row decides, not the partition.
    least = np.partition(value, len(value) - n)[len(value) - n]
    rows = np.flatnonzero(value >= least)
    return rows[np.argsort(-value[rows], kind="stable")][:n]


def _best_above_zero(value: AnyArray, n: int) -> AnyArray:
    rows = np.flatnonzero(value > 0)
    return rows[_best(value[rows], n)]
