"""Exposure fatigue: what was shown again and again without a click rests for a while (PRODUCT.md, W4)."""

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Int32s
from features.columns import EventKind
from features.history import DAY_US, History

# What says that the customer has taken notice; from then on the counting begins anew.
NOTICED: Final = (
    EventKind.view, EventKind.click, EventKind.cart, EventKind.purchase, EventKind.favorite, EventKind.share,
    EventKind.review,
)  # fmt: skip


class FatigueConfig(BaseModel):
    """When an item rests for a customer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shown: int = Field(
        10, ge=0, description="An item that was shown so often without a click rests; 0: nothing ever rests."
    )
    days: float = Field(
        7.0,
        gt=0,
        le=365,
        description="Only what was shown in the last so many days counts: rest ends by itself.",
    )


def resting(config: FatigueConfig, history: History, shown: History, at: int) -> Int32s:
    """Return the items that rest at a moment (UTC µs): int32 [n], ascending.

    Counted are impressions of the last `days` since the customer last took notice of the item.

    Parameters
    ----------
    history : History
        What the customer did with items of the kind, impressions of the release among it.
    shown : History
        Impressions that came after the release.
    """
    if config.shown == 0:
        return np.empty(0, np.int32)
    since = at - int(config.days * DAY_US)
    is_seen = history.kind == EventKind.impression
    item = np.concatenate([history.item_idx[is_seen], shown.item_idx])
    moment = np.concatenate([history.at[is_seen], shown.at])
    counts = (moment >= since) & (moment <= at) & (item >= 0)
    item, moment = item[counts], moment[counts]
    if len(item) < config.shown:
        return np.empty(0, np.int32)
    noticed = np.isin(history.kind, NOTICED) & (history.at <= at) & (history.item_idx >= 0)
    n = int(max(item.max(initial=-1), history.item_idx.max(initial=-1))) + 1
    last = np.full(n, np.iinfo(np.int64).min, np.int64)
    np.maximum.at(last, history.item_idx[noticed], history.at[noticed])
    tired = np.bincount(item[moment > last[item]], minlength=n) >= config.shown
    return np.flatnonzero(tired).astype(np.int32)
