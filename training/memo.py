"""What was already computed, kept while it may be asked again: a source is fitted once under the same settings."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class Memo:
    """Results by part and key; of each part the `keep` last asked for stay, so memory is bounded.

    A key names everything that the result depends on. Objects in keys are told apart by identity where they are not
    values (datasets, splits), and stay alive as long as the key does. Safe to ask from several threads.

    Attributes
    ----------
    keep : int
        Results kept per part; 0 keeps nothing and everything is made anew.
    made : list
        The parts computed, in order: what was not found here.
    """

    keep: int = 0
    made: list[Hashable] = field(default_factory=list)
    _kept: dict[Hashable, OrderedDict[Hashable, Any]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def once(self, part: Hashable, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gave for this key before, or make it now."""
        if not self.keep:
            return make()
        with self._lock:
            kept = self._kept.setdefault(part, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                found: T = kept[key]
                return found
        made = make()
        with self._lock:
            self.made.append(part)
            kept[key] = made
            while len(kept) > self.keep:
                kept.popitem(last=False)
        return made
