"""What is known of a content for a customer at a moment: one code for training, batch and service.

A matrix of signals, float32 [n, n_signals], NaN where nothing is known. Everything lies strictly before the question:
the pulse and the history it is given hold nothing later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from features.arrays import AnyArray, Float32s, Float64s, Int32s, Int64s
from features.history import DAY_US
from models.contents.present import Present
from models.contents.pulse import DAY, HALF_LIVES_HOURS, HOUR, HOUR_US, MINUTES, is_reading
from models.contents.stages import stage_fit
from models.contents.taste import REMEMBERED
from models.items import ItemTable
from models.query import Query
from models.recommenders.evidence import EvidenceConfig, sum_by_item

Columns: TypeAlias = Mapping[str, AnyArray | float]
SITTING_US: Final = 30 * 60 * 1_000_000
FIRST_READINGS: Final = 1.0  # what a content nobody has read yet may hope for
EVIDENCE: Final = EvidenceConfig()
PRODUCT_HALF_LIFE_DAYS: Final = 60.0
PROFILE: Final = 30  # contents read last that tell what texts are liked
CATEGORY_DEPTH: Final = 2

_COUNTS: Final = tuple(f"readings_{hours:.2g}h" for hours in HALF_LIVES_HOURS)
SIGNALS: Final = (
    *_COUNTS, "readings", "age", "since_reading", "heat", "heat_place", "newest_place", "rising", "speed",
    "share_minutes", "share_hour", "share_day", "traffic",
    "places_on", "hours_on", "new_since", "away", "n_read", "usual_age", "sitting", "hour", "weekday",
    "taste", "taste_mean", "group_readings", "group_share",
    "text", "text_last", "linked", "linked_kind", "form_share", "stage",
)  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Reader:
    """What the history of one question says, before any content is looked at.

    Attributes
    ----------
    read : int32 [n]
        Contents taken up, in order, only those that are known.
    taste : float32 [dim]
    group : int
    """

    query: Query
    read: Int32s
    read_at: Int64s
    taste: Float32s
    group: int

    @classmethod
    def of(cls, query: Query, present: Present) -> "Reader":
        """Read a question's history."""
        events = query.contents
        keep = is_reading(events.kind) & (events.item_idx >= 0)
        read, at = events.item_idx[keep], events.at[keep]
        taste, group = present.taste, present.taste.group(query.customer_idx)
        lately = taste.of_contents(present.pulse.groups[read[-REMEMBERED:]])
        return cls(query, read, at, taste.of_reader(lately, group), group)


def heat(present: Present, content_idx: Int32s, at: int) -> Float64s:
    """Return log(readings of the last day / age): float64 [n], how fast a content may be read now.

    The reading of news falls off about as 1 / age (Szabo and Huberman 2010, "Predicting the popularity of online
    content"); what nobody has read yet is hoped to be read, so that a piece published just now comes first.
    """
    age_hours = np.maximum(at - present.born(content_idx, at), 0) / HOUR_US
    counts = present.pulse.day_counts(content_idx, at)
    return np.asarray(np.log((counts + FIRST_READINGS) / (age_hours + 1.0)))


def signal_matrix(reader: Reader, content_idx: Int32s, present: Present, items: ItemTable) -> Float32s:
    """Return all signals of some contents: float32 [n, n_signals]; places are counted among these contents."""
    columns = {
        **_pulse_signals(reader, content_idx, present), **_reading_signals(reader, content_idx, present),
        **_taste_signals(reader, content_idx, present), **_text_signals(reader, content_idx, present),
        **_product_signals(reader, content_idx, present, items),
    }  # fmt: skip
    matrix = np.full((len(content_idx), len(SIGNALS)), np.nan, np.float32)
    for number, name in enumerate(SIGNALS):
        matrix[:, number] = columns[name]
    return matrix


def _pulse_signals(reader: Reader, content_idx: Int32s, present: Present) -> Columns:
    at, pulse = reader.query.at, present.pulse
    counts, everything = pulse.counts(content_idx, at), pulse.all_counts(at)
    born, readings = present.born(content_idx, at), pulse.groups[content_idx].sum(axis=1)
    age_hours = np.maximum(at - born, 0) / HOUR_US
    warmth = heat(present, content_idx, at)
    share = counts / (everything + 0.1)
    return {
        **dict(zip(_COUNTS, np.log1p(counts).T, strict=True)),
        "readings": np.log1p(readings), "age": np.log1p(age_hours),
        "since_reading": np.log1p(np.minimum(at - pulse.latest[content_idx], 400 * DAY_US) / HOUR_US),
        "heat": warmth, "heat_place": _places(-warmth), "newest_place": _places(-born),
        "rising": counts[:, HOUR] / (counts[:, DAY] + 0.1), "speed": np.log((readings + 0.5) / (age_hours + 1.0)),
        "share_minutes": share[:, MINUTES], "share_hour": share[:, HOUR], "share_day": share[:, DAY],
        "traffic": float(np.log1p(everything[HOUR])),
    }  # fmt: skip


def _reading_signals(reader: Reader, content_idx: Int32s, present: Present) -> Columns:
    query, n = reader.query, len(reader.read)
    clock = {
        "hour": (query.at - query.moment) / HOUR_US, "weekday": float((query.moment // DAY_US) % 7), "n_read": float(n),
    }  # fmt: skip
    if not n:
        unknown = dict.fromkeys(("places_on", "hours_on", "away", "usual_age"), np.nan)
        return {**clock, **unknown, "new_since": 1.0, "sitting": 0.0}
    last, last_at = int(reader.read[-1]), int(reader.read_at[-1])
    published = present.published
    ages = np.maximum(reader.read_at - published[reader.read], 0) / HOUR_US
    return {
        **clock,
        "places_on": present.place[content_idx] - present.place[last],
        "hours_on": (published[content_idx] - published[last]) / HOUR_US,
        "new_since": published[content_idx] > last_at, "away": float(np.log1p((query.at - last_at) / HOUR_US)),
        "usual_age": float(np.log1p(ages).mean()),
        "sitting": float((query.at - reader.read_at[-10:] < SITTING_US).sum()),
    }  # fmt: skip


def _taste_signals(reader: Reader, content_idx: Int32s, present: Present) -> Columns:
    taste, readings = present.taste, present.pulse.groups[content_idx]
    total = readings.sum(axis=1)
    # What each group's readings are worth to this reader.
    worth = taste.groups @ reader.taste
    liked = np.einsum("ij,j->i", readings, worth)
    own = readings[:, reader.group] if reader.group > 0 else np.zeros(len(content_idx))
    return {
        "taste": liked, "taste_mean": liked / (total + 1.0), "group_readings": own, "group_share": own / (total + 1.0),
    }  # fmt: skip


def _text_signals(reader: Reader, content_idx: Int32s, present: Present) -> Columns:
    has_text = present.has_text
    read = reader.read[has_text[reader.read]][-PROFILE:]
    if not len(read) or not has_text[content_idx].any():
        return {"text": np.nan, "text_last": np.nan, **_form_signals(reader, content_idx, present)}
    liked = present.words[read]
    likeness = np.einsum("ij,kj->ik", present.words[content_idx], liked)
    likeness[~has_text[content_idx]] = np.nan
    return {
        "text": likeness.mean(axis=1), "text_last": likeness[:, -3:].max(axis=1),
        **_form_signals(reader, content_idx, present),
    }  # fmt: skip


def _form_signals(reader: Reader, content_idx: Int32s, present: Present) -> Columns:
    codes = present.form_codes
    own = np.bincount(codes[reader.read], minlength=int(codes.max(initial=0)) + 1)
    return {"form_share": own[codes[content_idx]] / (len(reader.read) + 2.0)}


def _product_signals(reader: Reader, content_idx: Int32s, present: Present, items: ItemTable) -> Columns:
    query = reader.query
    stages = [present.table.contents[i] for i in content_idx]
    fit = {"stage": stage_fit(query, tuple(one.stage if one else "" for one in stages))}
    product_idx, weight = sum_by_item(query.history, EVIDENCE, query.moment, PRODUCT_HALF_LIFE_DAYS)
    carried = [present.linked(int(i), items) for i in content_idx]
    if not len(product_idx) or not any(len(one) for one in carried):
        return {**fit, "linked": np.nan, "linked_kind": np.nan}
    wanted = dict(zip(product_idx.tolist(), weight.tolist(), strict=True))
    kinds = _kind_shares(product_idx, weight, items)
    linked = np.array([sum(wanted.get(p, 0.0) for p in one.tolist()) if len(one) else np.nan for one in carried])
    families = [items.families(one, CATEGORY_DEPTH).tolist() for one in carried]
    kind = np.array([max((kinds.get(f, 0.0) for f in of), default=np.nan) for of in families])
    return {**fit, "linked": np.log1p(np.maximum(linked, 0.0)), "linked_kind": kind}


def _kind_shares(product_idx: Int32s, weight: Float64s, items: ItemTable) -> dict[int, float]:
    """Share of a customer's evidence that lies in each category."""
    family = items.families(product_idx, CATEGORY_DEPTH)
    worth = np.maximum(weight, 0.0)
    total = float(worth.sum()) or 1.0
    return {int(f): float(worth[family == f].sum()) / total for f in np.unique(family) if f >= 0}


def _places(value: AnyArray) -> AnyArray:
    """Place of each value in ascending order, from 0; ties in the order given."""
    place = np.empty(len(value), np.int64)
    place[np.argsort(value, kind="stable")] = np.arange(len(value))
    return place
