"""Why a content is shown: the strongest thing that is true of it for this customer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Float32s, Int32s
from models.contents.choice import signal
from models.contents.present import Present
from models.contents.pulse import HOUR_US
from models.contents.signals import Reader
from models.items import ItemTable
from models.reasons import Reason, reason

ALIKE: Final = 0.35  # cosine from which two texts are told to be alike
SHARED: Final = 0.3  # likeness of a content's readers from which they are told to be of one taste
FEW_READERS: Final = 3  # groups of customers are never told of fewer
NEWS_HOURS: Final = 24.0


@dataclass(frozen=True, slots=True)
class Why:
    """What put a content into a list, for counting, and the words for it."""

    stage: str
    reason: Reason


def grounds_of(reader: Reader, content_idx: Int32s, matrix: Float32s, present: Present, items: ItemTable) -> list[Why]:
    """Return why each of some contents is shown; `matrix` holds their signals."""
    at = reader.query.at
    on = present.is_on_air(content_idx, at)
    named = {name: signal(matrix, name) for name in ("linked", "stage", "text_last", "taste_mean", "readings")}
    age_hours = np.expm1(signal(matrix, "age"))
    found = []
    for row, idx in enumerate(content_idx):
        told = {name: float(value[row]) for name, value in named.items()} | {"age": float(age_hours[row])}
        on_air = _on_air(int(idx), at, present) if on[row] else None
        found.append(on_air or next(_personal(reader, int(idx), told, present, items), None) or _plain(told))
    return found


def _on_air(idx: int, at: int, present: Present) -> Why:
    starts = int(present.starts_at[idx])
    if starts <= at:
        return Why("live", reason("content_live"))
    return Why("live", reason("content_live_soon", hours=max(round((starts - at) / HOUR_US), 1)))


def _personal(reader: Reader, idx: int, told: dict[str, float], present: Present, items: ItemTable) -> Iterator[Why]:
    if told["linked"] > 0:
        known = np.isin(carried := present.linked(idx, items), reader.query.history.item_idx)
        if known.any():
            title = items.titles[int(carried[known][0])]
            yield Why("linked", reason("content_product", title=title) if title else reason("content_products"))
    if told["stage"] > 0:
        yield Why("stage", reason("content_stage"))
    if told["text_last"] >= ALIKE and (like := _alike(reader, idx, present)):
        yield Why("text", reason("content_alike", title=like))
    if told["taste_mean"] >= SHARED and np.expm1(told["readings"]) >= FEW_READERS:
        yield Why("taste", reason("content_like_you"))


def _alike(reader: Reader, idx: int, present: Present) -> str:
    """Title of what was read lately that is most like a content."""
    read = reader.read[present.has_text[reader.read]][-3:]
    best = int(read[int(np.argmax(np.einsum("ij,j->i", present.words[read], present.words[idx])))])
    one = present.table.contents[best]
    return one.title if one else ""


def _plain(told: dict[str, float]) -> Why:
    is_news = told["age"] <= NEWS_HOURS or np.expm1(told["readings"]) < FEW_READERS
    return Why("newest", reason("content_new")) if is_news else Why("popular", reason("content_popular"))
