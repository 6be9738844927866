"""What is measured on which data, and the settings that peers may choose from on the validation part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Data:
    """A data set of EVALUATION §1 or §2.

    Attributes
    ----------
    form : str
        `basket` or `topn`, as the shared scripts call it.
    scene : str
        What Pond is asked.
    chosen_by : str
        The figure on the validation part of the first fold that chooses a peer's settings.
    honest : str
        The baseline that Pond's difference is taken to.
    """

    form: str
    folds: tuple[int, ...]
    scene: str
    chosen_by: str
    honest: str
    baselines: tuple[str, ...]
    targets: Mapping[str, float]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of list that are scored."""
        return (10, 20) if self.form == "basket" else (20,)


_BASKET = ("popularity", "frequency", "honest_frequency")
DATA: dict[str, Data] = {
    "tafeng": Data(
        "basket", (0, 1, 2), "next_basket", "recall@10", "honest_frequency", _BASKET,
        {"recall@10": 0.170, "ndcg@10": 0.155, "phr@10": 0.485, "recall@20": 0.220},
    ),
    "complete_journey": Data(
        "basket", (0, 1, 2, 3, 4), "next_basket", "recall@10", "honest_frequency", _BASKET,
        {"recall@10": 0.190, "ndcg@10": 0.178, "phr@10": 0.620},
    ),
    "gowalla": Data(
        "topn", (0,), "discover", "recall@20", "new_popularity", ("new_popularity",),
        {"recall@20": 0.193, "ndcg@20": 0.162},
    ),
}  # fmt: skip

# At most six trials each. The first of ALS is the one EVALUATION §2 names for Gowalla.
_ALS = ((256, 80, 120), (128, 80, 40), (128, 10, 10), (64, 10, 1), (64, 1, 1), (256, 20, 30))
PEERS: dict[str, Sequence[Settings]] = {
    "implicit ALS, library defaults": ({"model": "als"},),
    "implicit ALS": tuple(
        {"model": "als", "factors": f, "alpha": a, "regularization": r, "iterations": 15} for f, a, r in _ALS
    ),
    "implicit BM25 neighbours": tuple(
        {"model": "bm25", "K": k, "B": b} for k, b in ((20, 0.2), (20, 0.75), (100, 0.2), (100, 0.75), (400, 0.2))
    ),
    "implicit cosine neighbours": tuple({"model": "cosine", "K": k} for k in (20, 50, 100, 400)),
    "RecTools popular": ({"model": "rectools_popular"},),
    "RecTools EASE": tuple({"model": "rectools_ease", "regularization": r} for r in (100, 500, 2000)),
    "RecTools PureSVD": tuple({"model": "rectools_pure_svd", "factors": f} for f in (32, 64, 128, 256)),
}
# A dense matrix of 40,981² in float32 is 6.7 GB, and its inverse as much again, beside hours on two cores.
LEFT_OUT = {("gowalla", "RecTools EASE"): "the dense item × item matrix and its inverse need over 13 GB"}
