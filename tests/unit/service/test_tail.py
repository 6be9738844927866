import struct

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.columns import EventKind, ItemKind
from features.dataset import with_baskets
from service.tail import LiveEvent, decode_rows, encode_row, tail_history

DAY = 86_400_000_000
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=256)
EVENTS = st.builds(
    LiveEvent, event_id=TEXT, customer_id=st.just("c"), kind=st.sampled_from(EventKind),
    at=st.integers(0, 4 * DAY), item_kind=st.sampled_from(ItemKind), item_id=st.none() | TEXT,
    quantity=st.none() | st.floats(0.5, 9, width=32), price=st.none() | st.floats(0, 99, width=32),
    order_id=st.none() | st.sampled_from(["o1", "o2"]),
)  # fmt: skip


def tail_of(events):
    return b"".join(struct.pack(">QI", 1_000, i) + encode_row(event) for i, event in enumerate(events))


@given(st.lists(EVENTS, max_size=8))
def test_rows_come_back_as_they_went_in(events):
    rows = list(decode_rows(tail_of(events)))
    assert [row.stream_id for row in rows] == [(1_000, i) for i in range(len(events))]
    assert [(r.event_id, r.at, r.kind, r.item_kind, r.item_id) for r in rows] == [
        (e.event_id, e.at, e.kind, e.item_kind, e.item_id or "") for e in events
    ]
    assert [r.quantity for r in rows] == [1.0 if e.quantity is None else e.quantity for e in events]
    assert all(np.isnan(r.price) if e.price is None else r.price == e.price for r, e in zip(rows, events, strict=True))


@given(st.lists(EVENTS, max_size=12, unique_by=lambda e: e.event_id))
def test_baskets_are_numbered_as_in_a_dataset(events):
    history = tail_history(tail_of(events), ItemKind.product, lambda _: 0, "Asia/Shanghai")
    rows = [e.row() for e in events if e.item_kind == ItemKind.product and e.item_id]
    schema = {"event_id": pl.String, "at": pl.Int64, "kind": pl.String, "order_id": pl.String}
    code = {kind.name: int(kind) for kind in EventKind}
    frame = (
        pl.LazyFrame([{name: row[name] for name in schema} for row in rows], schema=schema)
        .with_columns(pl.col("kind").replace_strict(code, return_dtype=pl.UInt8), u=pl.lit(0))
        .sort("at", "event_id")
        .pipe(with_baskets, "Asia/Shanghai")
        .collect()
    )
    assert history.at.tolist() == frame["at"].to_list()
    assert history.order_idx.tolist() == frame["order_idx"].to_list()


def test_unknown_items_keep_their_place_and_their_id():
    tail = tail_of(
        [LiveEvent("e1", "c", EventKind.view, 5, item_id="new"), LiveEvent("e2", "c", EventKind.view, 3, item_id="old")]
    )
    history = tail_history(tail, ItemKind.product, lambda i: {"old": 7}.get(i, -1), "UTC")
    assert history.item_idx.tolist() == [7, -1]
    assert [row.item_id for row in decode_rows(tail)] == ["new", "old"]


def test_contents_are_not_in_the_history_of_products():
    tail = tail_of([LiveEvent("e1", "c", EventKind.view, 5, item_kind=ItemKind.content, item_id="a")])
    assert len(tail_history(tail, ItemKind.product, lambda _: 0, "UTC")) == 0
    assert len(tail_history(tail, ItemKind.content, lambda _: 0, "UTC")) == 1
