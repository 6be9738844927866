"""What products say of themselves, kept word by word: a part that is missing often names what it belongs to.

`content_based` reduces descriptions to a few directions, which is right for tastes and loses what a completion turns
on: the model number that a battery and its camera share. Here the terms themselves stay, beside the directions.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field
from sklearn.feature_extraction.text import TfidfVectorizer

from features.arrays import Float32s, Int32s
from features.ids import IdMap
from features.text import split_words
from models.recommenders.content_based import describe_products
from models.recommenders.gf_cf import leading_directions

LONG_TEXT: Final = 2_000


class WordingConfig(BaseModel):
    """How descriptions are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_terms: int = Field(100_000, ge=1, description="Most frequent terms kept.")
    dim: int = Field(64, ge=1, le=1024, description="Directions of descriptions; fewer where there are few.")
    n_passes: int = Field(3, ge=1, le=20, description="Passes of the power method that finds them.")


@dataclass(frozen=True, eq=False)
class Wording:
    """Descriptions of products as terms and as directions.

    Attributes
    ----------
    titles, texts : CSR float32 [n_items, n_terms]
        TF-IDF of the titles' words and word pairs, and of everything that is said (`describe_products`); rows of
        length 1, empty without words.
    title_terms, text_terms : IdMap
        Their columns.
    title_idf, text_idf : float32 [n_terms]
    axes : float32 [n_text_terms, dim]
    meaning : float32 [n_items, dim]
        The texts along the axes; length 1, or 0.
    brand : int32 [n_items]
        Number of the brand, or where none is told of the title's first word; -1 for neither.
    """

    titles: sp.csr_array
    texts: sp.csr_array
    title_terms: IdMap
    text_terms: IdMap
    title_idf: Float32s
    text_idf: Float32s
    axes: Float32s
    meaning: Float32s
    brand: Int32s

    @classmethod
    def fit(cls, frame: pl.DataFrame, config: WordingConfig, rng: np.random.Generator) -> Self:
        """Read the products of a catalogue, one row each."""
        named = _titles(frame)
        titles, title_terms, title_idf = _weighed(named, config.max_terms)
        texts, text_terms, text_idf = _weighed(describe_products(frame, LONG_TEXT), config.max_terms)
        dim = int(min(config.dim, max(1, min(texts.shape) // 2)))
        axes = leading_directions(texts, sp.csr_array(texts.T.tocsr()), dim, config.n_passes, rng).astype(np.float32)
        return cls(
            titles, texts, title_terms, text_terms, title_idf, text_idf, axes, _directions(texts, axes),
            _brands(frame, named),
        )  # fmt: skip

    @property
    def is_told(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which products have a title: bool [n_items]."""
        return np.diff(self.titles.indptr) > 0


def _titles(frame: pl.DataFrame) -> list[list[str]]:
    told = frame["title"].to_list() if "title" in frame.columns else [None] * len(frame)
    words_of = {title: split_words(title or "") for title in set(told)}
    return [words_of[title] for title in told]


def _brands(frame: pl.DataFrame, named: list[list[str]]) -> Int32s:
    brands = frame["brand"].to_list() if "brand" in frame.columns else [None] * len(frame)
    names = [(brand or "").casefold() or next(iter(terms), "") for brand, terms in zip(brands, named, strict=True)]
    number = {name: at for at, name in enumerate(sorted(set(names) - {""}))}
    return np.array([number.get(name, -1) for name in names], np.int32)


def _weighed(described: list[list[str]], max_terms: int) -> tuple[sp.csr_array, IdMap, Float32s]:
    if not any(described):
        nothing = (np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(len(described) + 1, np.int32))
        return sp.csr_array(nothing, shape=(len(described), 1)), IdMap.of(("",)), np.zeros(1, np.float32)
    vectorizer = TfidfVectorizer(analyzer=_as_they_are, sublinear_tf=True, dtype=np.float32, max_features=max_terms)
    matrix = sp.csr_array(vectorizer.fit_transform(described))
    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    return matrix, IdMap.of(terms), vectorizer.idf_.astype(np.float32)


def _directions(texts: sp.csr_array, axes: Float32s) -> Float32s:
    reduced = np.asarray(texts @ axes, np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", reduced, reduced))[:, None]
    found: Float32s = np.where(length > 1e-6, reduced / np.maximum(length, 1e-6), 0.0).astype(np.float32)
    return found


def _as_they_are(terms: list[str]) -> list[str]:
    return terms
