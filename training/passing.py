"""The storefront as time passes: questions in the order of their moments, each answered from what lay before it."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from features.columns import ItemKind
from models.contents.model import ContentModel
from models.contents.pulse import Pulse, Readings
from models.rules import NO_RULES, RuleBook
from models.storefront import Storefront, kind_of
from models.trained import Models
from training.since import Change, storefront_after

NO_READINGS = Readings(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int32))


@dataclass
class PassingStorefront:
    """What may be shown, moment after moment.

    Attributes
    ----------
    changes : sequence of Change
        Versions of items since the release, in order.
    readings : Readings
        Readings since the release, in order.
    scene : str
        Only a scene of contents pays for the readings.
    """

    models: Models
    changes: Sequence[Change]
    readings: Readings
    scene: str
    low_stock: float = 0.0
    rules: RuleBook = NO_RULES
    _fronts: dict[int, Storefront] = field(default_factory=dict)
    _pulse: Pulse | None = None
    _taken: int = 0

    def at(self, moment: int) -> Storefront:
        """Return the storefront at a moment, which must not be earlier than the one asked for before."""
        n_changes = bisect_left(self.changes, moment, key=lambda change: change.at)
        front = self._fronts.get(n_changes)
        if front is None:
            front = storefront_after(self.models, self.changes[:n_changes], self.low_stock, self.rules)
            if kind_of(self.scene) is ItemKind.content:
                present = front.contents.present.with_pulse(self._pulse_from(moment))
                front = replace(front, contents=replace(front.contents, present=present))
            self._fronts = {n_changes: front}
        if self._pulse is not None:
            fresh = self.readings.until(moment, self._taken)
            self._pulse.take(fresh)
            self._taken += len(fresh)
        return front

    def _pulse_from(self, moment: int) -> Pulse:
        """Return the pulse that goes on from the release, or from nothing for a question about its past."""
        if self._pulse is None:
            every = storefront_after(self.models, self.changes, self.low_stock)
            part, n = self.models.part(ContentModel), len(every.contents.table)
            if moment >= self.models.as_of:
                self._pulse = part.pulse.writable(n)
            else:
                events = self.models.other_histories[ItemKind.content]
                self.readings = _then(Readings.of(events, part.taste.group_of), self.readings)
                self._pulse = Pulse.silent(n, part.taste.n_groups)
        return self._pulse


def _then(first: Readings, later: Readings) -> Readings:
    return Readings(
        np.concatenate([first.content_idx, later.content_idx]), np.concatenate([first.at, later.at]),
        np.concatenate([first.group, later.group]),
    )  # fmt: skip
