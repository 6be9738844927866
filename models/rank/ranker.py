"""The learned ranker: gradient-boosted trees over everything the sources and the history say of each candidate.

LambdaMART (Burges 2010) or its pointwise form, by LightGBM. What a source says enters as its score over its best score
of this query and as its rank: refitting a source shifts its raw scores, not these.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import lightgbm as lgb
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Bools, Float32s, Float64s, Int32s, Int64s
from features.definitions import FEATURES, feature_matrix
from features.errors import ArtifactCorrupt
from features.item_facts import ItemFacts
from models.query import Candidates, Query
from models.rank.attribution import Grounds, PathTable, read_paths
from models.recommenders.evidence import score_of_listed

# More of these never speaks against an item, all else equal.
COUNT: Final = "count"  # of the trees beside it
RISING: Final = frozenset(
    {
        "hazard", "share_next_basket", "share_userknn", "share_itemknn", "share_sequence", "share_gf_cf", "share_ease",
        "share_als", "share_content_based", "share_own_kinds",
    }
)  # fmt: skip


class RankerConfig(BaseModel):
    """Settings of the learned ranker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objectives: tuple[Literal["lambdarank", "binary"], ...] = Field(
        ("binary", "lambdarank"),
        min_length=1,
        description="What the trees minimize: a forest each, their scores averaged.",
    )
    n_trees: int = Field(120, ge=1, le=5000, description="Trees of each forest.")
    n_leaves: int = Field(15, ge=2, le=1024)
    learning_rate: float = Field(0.075, gt=0, le=1)
    min_rows_in_leaf: int = Field(300, ge=1)
    feature_share: float = Field(0.5, gt=0, le=1, description="Share of the features each tree may use.")
    row_share: float = Field(0.7, gt=0, le=1, description="Share of the rows each tree sees.")
    l2: float = Field(5.0, ge=0)
    negatives: int = Field(40, ge=1, description="Candidates nobody wanted kept per question, drawn by chance.")
    max_questions: int = Field(5000, ge=1, description="Most questions learned from at each cut, drawn by chance.")
    least_questions: int = Field(300, ge=1, description="With fewer answered ones the blend orders the scene.")


@dataclass(frozen=True, eq=False, slots=True)
class Forests:
    """LightGBM models, kept in its own text format, one file each, and what their leaves owe to which cause."""

    boosters: tuple[lgb.Booster, ...]
    paths: tuple[PathTable, ...]

    @classmethod
    def of(cls, boosters: Iterable[lgb.Booster]) -> Self:
        """Walk the paths of some forests."""
        grown = tuple(boosters)
        dumps = [(booster.dump_model()["tree_info"], booster.feature_name()) for booster in grown]
        return cls(grown, tuple(read_paths([t["tree_structure"] for t in trees], names) for trees, names in dumps))

    def ordered(self, matrix: Float32s) -> tuple[Float64s, tuple[float, ...]]:
        """Score some rows: (mean of the forests, float64 [n], deviation of each forest's raw scores over the rows).

        Each forest's scores are brought to mean 0 and deviation 1 over the rows first.
        """
        total, scale = np.zeros(len(matrix)), []
        for booster in self.boosters:
            score: Float64s = booster.predict(matrix, raw_score=True, num_threads=1)
            scale.append(max(float(score.std()), 1e-9))
            total += (score - score.mean()) / scale[-1]
        return total / max(len(self.boosters), 1), tuple(scale)

    def raw(self, matrix: Float32s) -> Float64s:
        """Mean of the forests' raw scores of some rows, whatever questions they are of: float64 [n]."""
        found: Float64s = np.mean([b.predict(matrix, raw_score=True, num_threads=1) for b in self.boosters], axis=0)
        return found

    def save(self, directory: Path) -> None:
        """Write the trees, and how many: a folder without a file would get lost in a backup."""
        (directory / COUNT).write_text(f"{len(self.boosters)}\n", "utf-8")
        for number, booster in enumerate(self.boosters):
            (directory / f"{number}.txt").write_text(booster.model_to_string(), "utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the trees back; damage is `ArtifactCorrupt`."""
        boosters = []
        for path in sorted(directory.glob("*.txt")):
            try:
                boosters.append(lgb.Booster(model_str=path.read_text("utf-8")))
            except (OSError, UnicodeDecodeError, lgb.basic.LightGBMError) as error:
                raise ArtifactCorrupt(str(path), f"is not a LightGBM model ({error})") from error
        told = directory / COUNT  # not there in a release made before it was written
        if told.exists() and told.read_bytes() != f"{len(boosters)}\n".encode():
            raise ArtifactCorrupt(str(told), "does not say how many trees stand beside it")
        return cls.of(boosters)


@dataclass(frozen=True, eq=False)
class RankerModel:
    """Trees, the names of what they look at, and the item tables the features come from.

    Attributes
    ----------
    sources : tuple of str
        Sources whose scores are features, and aspects of sources (`itemknn.nearest`), in order.
    """

    config: RankerConfig
    sources: tuple[str, ...]
    facts: ItemFacts
    forests: Forests

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in the order of the columns."""
        return feature_names(self.sources)

    def order(self, query: Query, item_idx: Int32s, found: Mapping[str, Candidates]) -> "RankedCandidates":
        """Score the gathered candidates.

        Each forest's scores are brought to mean 0 and deviation 1 over the candidates, averaged, and mapped into
        (0, 1) by the logistic function: positive, as diversity and exploration need.
        """
        matrix = ranking_matrix(query, item_idx, found, self.sources, self.facts)
        mean, scale = self.forests.ordered(matrix)
        return RankedCandidates(self, item_idx, matrix, (1.0 / (1.0 + np.exp(-mean))).astype(np.float32), scale)

    def contributions(self, query: Query, item_idx: Int32s, found: Mapping[str, Candidates]) -> Float64s:
        """What each feature adds to each item's score, mean over the forests (TreeSHAP): float64 [n, n_features + 1].

        The last column is the base. Costs some ten times an `order`: the hot path has `RankedCandidates.grounds`.
        """
        matrix = ranking_matrix(query, item_idx, found, self.sources, self.facts)
        added: Float64s = np.mean(
            [booster.predict(matrix, pred_contrib=True, num_threads=1) for booster in self.forests.boosters], axis=0
        )
        return added

    def importance(self) -> dict[str, float]:
        """Mean share of the total gain by feature, greatest first."""
        shares = []
        for booster in self.forests.boosters:
            gain = booster.feature_importance("gain")
            shares.append(gain / max(float(gain.sum()), 1e-12))
        share = np.mean(shares, axis=0)
        return {self.names[i]: float(share[i]) for i in np.argsort(-share, kind="stable")}


@dataclass(frozen=True, eq=False, slots=True)
class RankedCandidates:
    """Scores of one query's candidates, and on request where they come from.

    Attributes
    ----------
    item_idx : int32 [n]
    matrix : float32 [n, n_features]
    score : float32 [n]
        Higher is better; comparable within one query only.
    scale : tuple of float
        Deviation of each forest's raw scores over the candidates.
    """

    model: RankerModel
    item_idx: Int32s
    matrix: Float32s
    score: Float32s
    scale: tuple[float, ...]

    def added(self, rows: Int64s) -> Float64s:
        """What each cause adds to some rows' scores before the logistic, over the forest's base: [n, n_causes]."""
        forests, matrix = self.model.forests, self.matrix[rows]
        total = np.zeros((len(rows), len(forests.paths[0].causes)))
        for booster, paths, scale in zip(forests.boosters, forests.paths, self.scale, strict=True):
            leaves: Int32s = booster.predict(matrix, pred_leaf=True, num_threads=1).astype(np.int32)
            total += paths.of(leaves.reshape(len(rows), -1)) / scale
        return total / len(forests.boosters)

    def grounds(self, rows: Int64s) -> tuple[Grounds, ...]:
        """Why some candidates stand where they do; a look at each tree for each row."""
        if not len(rows):
            return ()
        causes, names = self.model.forests.paths[0].causes, self.model.names
        return tuple(
            Grounds(
                tuple(causes[i] for i in np.argsort(-added, kind="stable") if added[i] > 0),
                dict(zip(names, self.matrix[row].tolist(), strict=True)) | self._counted(int(self.item_idx[row])),
            )
            for row, added in zip(rows, self.added(rows), strict=True)
        )

    def _counted(self, item_idx: int) -> dict[str, float]:
        """What reasons tell of an item where the trees look at something smoothed."""
        facts = self.model.facts
        if item_idx >= facts.n_items:
            return {}
        return {"buyers": float(facts.buyers[item_idx]), "rebuyers": float(facts.rebuyers[item_idx])}


def feature_names(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of `ranking_matrix`."""
    return (*FEATURES, *(column for name in sources for column in _columns_of(name)))


def _columns_of(name: str) -> tuple[str, ...]:
    """Columns of a source, or the one of an aspect, which is a feature as it is."""
    return (name,) if "." in name else (f"share_{name}", f"rank_{name}")


def ranking_matrix(
    query: Query, item_idx: Int32s, found: Mapping[str, Candidates], sources: tuple[str, ...], facts: ItemFacts
) -> Float32s:
    """Return everything known of some candidates: float32 [n, n_features], NaN where a source did not find one.

    Items that came after training are unknown to every table: their features are those of an item without facts.
    """
    matrix = np.full((len(item_idx), len(feature_names(sources))), np.nan, np.float32)
    known = item_idx < facts.n_items
    matrix[known, : len(FEATURES)] = feature_matrix(
        query.history, item_idx[known], query.moment, facts, query.attributes
    )
    after = len(FEATURES)
    for name in sources:
        at, after = after, after + len(_columns_of(name))
        candidates = found.get(name)
        if candidates is None or not len(candidates):
            continue
        by_item = np.argsort(candidates.item_idx)
        listed = candidates.item_idx[by_item]
        if "." in name:
            matrix[:, at] = score_of_listed(item_idx, listed, candidates.score[by_item])
            continue
        best = max(float(candidates.score[0]), 1e-12)
        matrix[:, at] = score_of_listed(item_idx, listed, (candidates.score / best)[by_item])
        ranks = np.log1p(np.arange(len(candidates), dtype=np.float32))
        matrix[:, at + 1] = score_of_listed(item_idx, listed, ranks[by_item])
    return matrix


@dataclass(frozen=True, eq=False, slots=True)
class RankingRows:
    """Answered questions to learn from, one after the other.

    Attributes
    ----------
    matrix : float32 [n, n_features]
    wanted : bool [n]
    sizes : int64 [n_questions]
        Rows of each question.
    """

    matrix: Float32s
    wanted: Bools
    sizes: Int64s

    def of(self, questions: slice) -> "RankingRows":
        """Return some questions that stand side by side."""
        edges = np.append(0, np.cumsum(self.sizes))
        start, stop, _ = questions.indices(len(self.sizes))
        rows = slice(int(edges[start]), int(edges[stop]))
        return RankingRows(self.matrix[rows], self.wanted[rows], self.sizes[questions])

    def then(self, more: "RankingRows") -> "RankingRows":
        """Return both."""
        return RankingRows(
            np.concatenate([self.matrix, more.matrix]), np.concatenate([self.wanted, more.wanted]),
            np.concatenate([self.sizes, more.sizes]),
        )  # fmt: skip


def fit_ranker(
    rows: RankingRows, sources: tuple[str, ...], facts: ItemFacts, config: RankerConfig, seed: int
) -> RankerModel:
    """Grow the trees; the same rows, settings and seed give the same text, whatever the number of threads."""
    names = feature_names(sources)
    return RankerModel(config, sources, facts, grow_forests(rows, names, config, seed, RISING.intersection(names)))


def grow_forests(
    rows: RankingRows, names: Sequence[str], config: RankerConfig, seed: int, rising: Collection[str] = ()
) -> Forests:
    """Grow a forest for each objective over columns of these names; more of what is `rising` never speaks against."""

    def grow(objective: str) -> lgb.Booster:
        return _grown(rows, list(names), config, objective, seed, [int(name in rising) for name in names])

    # Forests side by side, each on one thread: threads of one forest wait for each other at every leaf, which on a
    # machine that has something else to do takes several times as long.
    with ThreadPoolExecutor() as pool:
        return Forests.of(pool.map(grow, config.objectives))


def _grown(
    rows: RankingRows, names: list[str], config: RankerConfig, objective: str, seed: int, monotone: list[int]
) -> lgb.Booster:  # fmt: skip
    parameters = {
        "objective": objective, "learning_rate": config.learning_rate, "num_leaves": config.n_leaves,
        "min_data_in_leaf": config.min_rows_in_leaf, "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share, "bagging_freq": 1, "lambda_l2": config.l2, "max_bin": 127,
        "monotone_constraints": monotone, "lambdarank_truncation_level": 20,
        "label_gain": [0, 1], "deterministic": True, "force_row_wise": True, "seed": seed, "verbose": -1,
        "num_threads": 1,
    }  # fmt: skip
    data = lgb.Dataset(
        rows.matrix, rows.wanted.astype(np.float32), group=rows.sizes if objective == "lambdarank" else None,
        feature_name=names, params={"max_bin": 127, "num_threads": 1, "verbose": -1},
    )  # fmt: skip
    grown = lgb.train(parameters, data, config.n_trees)
    # Read back from its own text: what serves now and what a release loads are the same to the last bit.
    return lgb.Booster(model_str=grown.model_to_string())


class TreesConfig(BaseModel):
    """How trees that tell one thing from another grow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trees: int = Field(200, ge=1, le=5000, description="Trees.")
    n_leaves: int = Field(15, ge=2, le=1024)
    learning_rate: float = Field(0.06, gt=0, le=1)
    min_rows_in_leaf: int = Field(100, ge=1)
    feature_share: float = Field(0.5, gt=0, le=1, description="Share of the features each tree may use.")
    row_share: float = Field(0.7, gt=0, le=1, description="Share of the rows each tree sees.")
    l2: float = Field(5.0, ge=0)
    seed: int = Field(0, ge=0)


def grow_binary(
    matrix: Float32s, wanted: Bools, weight: Float32s, names: tuple[str, ...], rising: Collection[str],
    config: TreesConfig,
) -> lgb.Booster:  # fmt: skip
    """Grow trees whose raw score is the log odds of `wanted` [n] given a matrix [n, n_features]; on one thread."""
    parameters = {
        "objective": "binary", "learning_rate": config.learning_rate, "num_leaves": config.n_leaves,
        "min_data_in_leaf": config.min_rows_in_leaf, "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share, "bagging_freq": 1, "lambda_l2": config.l2, "max_bin": 127,
        "monotone_constraints": [int(name in rising) for name in names], "deterministic": True,
        "force_row_wise": True, "seed": config.seed, "verbose": -1, "num_threads": 1,
    }  # fmt: skip
    told = {"max_bin": 127, "num_threads": 1, "verbose": -1}
    data = lgb.Dataset(matrix, wanted.astype(np.float32), weight=weight, feature_name=list(names), params=told)
    grown = lgb.train(parameters, data, config.n_trees)
    return lgb.Booster(model_str=grown.model_to_string())
