"""What a tuning found: the best settings, what they changed, and an honest interval of what that is worth."""

from dataclasses import dataclass

import numpy as np

from features.sentences import counted
from models.rng import derived_rng
from training.bench import Bench
from training.metrics import Interval, bootstrap_intervals
from training.settings import RunSettings
from training.study import TrialRecord
from training.tuning_space import Value


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scene: NDCG@10 of the current and the tuned settings, over customers who had no say in the choice."""

    current: float
    tuned: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that was changed."""

    name: str
    before: Value
    after: Value


@dataclass(frozen=True, eq=False)
class TuneReport:
    """What came of a tuning.

    Attributes
    ----------
    study : str
        Its name; `continued` when it was there before, `news` says why another one was not.
    trials : tuple of TrialRecord
        All of the study, the current settings first; `n_new` of them were tried now.
    best : TrialRecord
        The current settings' where nothing was better.
    settings : RunSettings
        The best.
    comparisons : dict
        By scene.
    """

    shop: str
    study: str
    continued: bool
    news: str
    note: str
    n_customers: int
    n_confirming: int
    trials: tuple[TrialRecord, ...]
    n_new: int
    best: TrialRecord
    settings: RunSettings
    changes: tuple[Change, ...]
    comparisons: dict[str, Comparison]
    interrupted: bool
    warnings: tuple[str, ...]

    @property
    def worse(self) -> tuple[str, ...]:
        """Scenes in which those who had no say are significantly worse off."""
        return tuple(name for name, found in self.comparisons.items() if found.difference.high < 0)

    @property
    def verdict(self) -> str:
        """The result in plain words."""
        if len(self.trials) < 2:
            return "There was no time to try anything but the current settings."
        if not self.changes:
            return "Nothing that was tried is better than the current settings: keep them."
        higher = [name for name, found in self.comparisons.items() if found.difference.low > 0]
        parts, lower = [], self.worse
        if higher:
            parts.append(f"significantly better in {', '.join(higher)}")
        if lower:
            parts.append(f"significantly worse in {', '.join(lower)}")
        if not parts:
            parts.append("nothing significant was found: every 95 % interval of the difference contains 0")
        return f"On {counted(self.n_confirming, 'customer')} who had no say in the choice: {'; '.join(parts)}."


def compared(bench: Bench, first: TrialRecord, best: TrialRecord) -> dict[str, Comparison]:
    """Compare the best with the current settings on the customers who did not choose: the paired bootstrap."""
    sure = ~bench.searching
    found = {}
    for row, scene in enumerate(bench.scenes):
        before, after = (record.ndcg[row, sure].astype(np.float64) for record in (first, best))
        if np.isnan(before).all():
            continue
        rng = derived_rng(bench.settings.seed, "bootstrap", "tune", scene)
        interval = bootstrap_intervals({scene: after - before}, rng, bench.settings.bootstrap_samples)[scene]
        found[scene] = Comparison(float(np.nanmean(before)), float(np.nanmean(after)), interval)
    return found
