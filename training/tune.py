"""Tuning: better settings for a shop, looked for on its own past and never on what releases are judged by (DESIGN §7).

Each trial changes one part of the best settings so far (a source, a scene's blend, or the rankers) and is compared with
them customer by customer. So a trial costs only what it changes, what it gained is known to come from it, and the
result says little more than what was worth changing. Settings are taken over when they gain more than one standard
error, and something at all.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from features.dataset import build_dataset
from features.erasure import read_erased
from features.errors import PondError, UsageError
from features.lake import Lake
from features.shop import Shop
from models.config import PipelineConfig
from models.rng import derived_rng
from training.bench import Bench, Judged, Scale, check_scenes
from training.progress import Advance, ProgressReport, Quiet
from training.settings import RunSettings
from training.split import Split
from training.study import BASELINE, Study, StudyKey, TrialRecord, open_study
from training.tracking import NoTracker, TrackedRun, Tracker
from training.tuning_report import Change, TuneReport, compared
from training.tuning_space import SETTINGS, Part, Value, search_parts, with_values

FOLDER: Final = "tuning"
# A share of the score: less is next to no list changed. One customer alone gains more than his own standard error.
NOTICED: Final = 0.0005
TURNS_OF_UNNOTICED: Final = 3
JUDGED_BY: Final = {"seed", "customers", "hold_out_share", "ranker_horizon_days"}


@dataclass(frozen=True, slots=True)
class Limit:
    """When to stop: after so many more trials, or so many minutes; whichever comes first."""

    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Refuse what can never try anything."""
        if self.trials is None and self.minutes is None:
            raise UsageError("Say how long to tune: --trials N, --minutes M, or both.")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials {self.trials} tries nothing; give at least 1.")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise UsageError(f"--minutes {self.minutes:g} is no time to tune in; give more than 0.")


@dataclass
class _Tuning:
    """A tuning that is going on."""

    shop: Shop
    settings: RunSettings
    bench: Bench
    study: Study
    tracked: TrackedRun
    told: Callable[[TrialRecord], None]
    parts: tuple[Part, ...] = ()
    warnings: list[str] = field(default_factory=list)
    n_new: int = 0

    def settle_baseline(self) -> None:
        """Judge the current settings, unless the study knows them, and learn which parts there are."""
        config, scenes = self.settings.pipeline, self.bench.scenes
        if not self.study.records():
            with self._recorded("trial 0: current settings") as run:
                started = time.monotonic()
                judged = self.bench.judge(config)
                scale = Scale.of(judged.ndcg, self.bench.searching)
                record = TrialRecord(
                    0, BASELINE, {}, {}, scale.score(judged.ndcg), gain=0.0, gain_error=0.0,
                    better=True, means=self._means(judged), ndcg=judged.ndcg, seconds=time.monotonic() - started,
                )  # fmt: skip
                self.study.keep_baseline(search_parts(config, scenes, judged.learned), judged.learned, record)
                _log(run, record)
            self.told(record)
        self.parts = search_parts(config, scenes, self.study.learned)
        if not self.parts:
            raise UsageError(f"The scenes {', '.join(scenes)} have no setting that tuning may change.")

    def try_next(self) -> None:
        """One trial: the next part, changed from the best settings so far."""
        records = self.study.records()
        part = self._part(records)
        best = best_of(records)
        trial, changed = self.study.ask(part, len(records) - 1)
        values = best.values | changed
        started = time.monotonic()
        try:
            with self._recorded(f"trial {trial.number}: {part.name}") as run:
                record = self._judged(trial.number, part, changed, values, records, started)
                _log(run, record)
        except KeyboardInterrupt:
            self.study.abandon(trial)
            raise
        except Exception as error:
            # Told as failed, so that it is not tried again; whether tuning can go on depends on whose fault it is.
            reason = str(error) if isinstance(error, PondError) else repr(error)
            record = TrialRecord(
                trial.number, part.name, changed, values, score=0.0, gain=0.0, gain_error=0.0, better=False, means={},
                ndcg=np.empty((0, 0), np.float32), seconds=time.monotonic() - started, failure=reason,
            )  # fmt: skip
            self.study.tell(trial, record)
            if not isinstance(error, PondError):
                raise
        else:
            self.study.tell(trial, record)
        self.n_new += 1
        self.told(record)

    def _judged(
        self, number: int, part: Part, changed: dict[str, Value], values: dict[str, Value],
        records: list[TrialRecord], started: float,
    ) -> TrialRecord:  # fmt: skip
        judged = self.bench.judge(self.config_of(values))
        scale = Scale.of(records[0].ndcg, self.bench.searching)
        gain, error = scale.gain(judged.ndcg, best_of(records).ndcg)
        return TrialRecord(
            number, part.name, changed, values, scale.score(judged.ndcg), gain, error,
            better=gain > max(error, NOTICED), means=self._means(judged), ndcg=judged.ndcg,
            seconds=time.monotonic() - started,
        )  # fmt: skip

    def _part(self, records: list[TrialRecord]) -> Part:
        """The part that had fewest turns, in an order drawn anew for each round.

        A trial that hardly any customer noticed counts as several turns: its part waits, and is not forgotten.
        """
        turns = dict.fromkeys((part.name for part in self.parts), 0)
        for record in records[1:]:
            unnoticed = not record.failure and record.gain_error < NOTICED
            turns[record.part] += TURNS_OF_UNNOTICED if unnoticed else 1
        fewest = min(turns.values())
        rng = derived_rng(self.settings.training.seed, "tune", "round", str(fewest))
        order: list[int] = rng.permutation(len(self.parts)).tolist()
        return next(self.parts[i] for i in order if turns[self.parts[i].name] == fewest)

    def config_of(self, values: Mapping[str, Value]) -> PipelineConfig:
        """Return the configuration with some settings, by name, changed."""
        paths = {setting.name: setting.path for part in self.parts for setting in part.settings}
        return with_values(self.settings.pipeline, {paths[name]: value for name, value in values.items()})

    def _means(self, judged: Judged) -> dict[str, float]:
        chosen = judged.ndcg[:, self.bench.searching].astype(np.float64)
        asked = ~np.isnan(chosen)
        totals = np.nansum(chosen, axis=1) / np.maximum(asked.sum(axis=1), 1)
        return {scene: float(mean) for scene, mean in zip(self.bench.scenes, totals, strict=True)}

    @contextmanager
    def _recorded(self, name: str) -> Iterator[TrackedRun]:
        """Record a trial as a run below the study's."""
        run = self.tracked.child(name)
        try:
            yield run
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            run.finish(failed=True, reason="stopped" if stopped else str(error) or repr(error))
            raise
        else:
            run.finish(failed=False)
        finally:
            self.warnings += [text for text in run.warnings if text not in self.warnings]


def best_of(records: list[TrialRecord]) -> TrialRecord:
    """Return the last settings that were taken over."""
    return [record for record in records if record.better][-1]


def _log(run: TrackedRun, record: TrialRecord) -> None:
    run.log_params({"part": record.part, **record.values})
    figures = {f"{scene}.ndcg@10": mean for scene, mean in record.means.items()}
    run.log_metrics(
        figures | {
            "score": record.score, "gain": record.gain, "gain_error": record.gain_error,
            "better": float(record.better), "seconds": record.seconds,
        }
    )  # fmt: skip


def tune(
    shop: Shop,
    settings: RunSettings,
    limit: Limit,
    scenes: tuple[str, ...] | None = None,
    progress: ProgressReport | None = None,
    *,
    tracker: Tracker | None = None,
    told: Callable[[TrialRecord], None] | None = None,
) -> TuneReport:
    """Look for better settings of a shop until the limit, going on where an earlier tuning of the same stopped.

    Parameters
    ----------
    scenes : tuple of str, optional
        Default: those of the settings.
    told : callable, optional
        Is given each trial when it ends.

    Raises
    ------
    UsageError, ContractError
        Nothing was begun: an unknown scene, too little history.
    KeyboardInterrupt
        Stopped before there was anything to report; later, the report says `interrupted`.
    """
    progress = progress or Quiet()
    names = tuple(dict.fromkeys(scenes or settings.training.scenes))
    check_scenes(names, settings.pipeline)
    with progress.step("read the lake"):
        dataset = build_dataset(
            Lake(shop.lake_dir), shop.name, shop.timezone, erased=read_erased(shop), obeys_later_words=True
        )
        bench = Bench.of(dataset, settings, names)
    key = study_key(bench.split, settings, bench.scenes)
    with open_study(shop.root / FOLDER, key, settings.training.seed) as study:
        tracked = (tracker or NoTracker()).go_on(shop.name, key.name, study.run_id)
        study.keep_run_id(tracked.run_id)
        going = _Tuning(shop, settings, bench, study, tracked, told or (lambda _: None))
        try:
            interrupted = _go(going, limit, progress)
        except BaseException as error:
            tracked.finish(failed=True, reason=str(error) or repr(error))
            raise
        report = _reported(going, interrupted=interrupted)
        _close(tracked, report)
    return report


def study_key(split: Split, settings: RunSettings, scenes: tuple[str, ...]) -> StudyKey:
    """Return what makes two tunings the same study."""
    training = settings.training
    protocol = f"{split.protocol}, {split.horizon_days} days, {training.model_dump_json(include=JUDGED_BY)}"
    ranges = f"{settings.pipeline.digest} {SETTINGS!r}"
    return StudyKey(split.known.digest, protocol, ", ".join(scenes), ranges)


def _go(going: _Tuning, limit: Limit, progress: ProgressReport) -> bool:
    """Try until the limit; True when somebody stopped it."""
    started = time.monotonic()
    total = limit.trials if limit.trials is not None else round(60 * (limit.minutes or 0))
    with progress.step(f"judge the current settings, {len(going.bench.split.cases):,} customers"):
        going.settle_baseline()
    with progress.step("trials" if limit.trials is not None else "seconds of tuning", total) as advance:
        tried = time.monotonic()
        try:
            while not _over(going, limit, started, tried):
                before = time.monotonic()
                going.try_next()
                _advanced(advance, limit, time.monotonic() - before)
        except KeyboardInterrupt:
            return True
    return False


def _over(going: _Tuning, limit: Limit, started: float, tried: float) -> bool:
    """Whether the limit is reached; a trial that would probably end too late is not begun."""
    if limit.trials is not None and going.n_new >= limit.trials:
        return True
    if limit.minutes is None:
        return False
    now = time.monotonic()
    usual = (now - tried) / going.n_new if going.n_new else 0.0
    return now + usual > started + 60 * limit.minutes


def _advanced(advance: Advance, limit: Limit, seconds: float) -> None:
    advance(1 if limit.trials is not None else round(seconds))


def _reported(going: _Tuning, *, interrupted: bool) -> TuneReport:
    records, bench, study = going.study.records(), going.bench, going.study
    best = best_of(records)
    current = {s.name: value for part in going.parts for s, value in zip(part.settings, part.current, strict=True)}
    return TuneReport(
        shop=going.shop.name, study=study.key.name, continued=not study.is_new, news=study.news,
        note=bench.split.note, n_customers=len(bench.split.cases), n_confirming=int((~bench.searching).sum()),
        trials=tuple(records), n_new=going.n_new, best=best,
        settings=RunSettings(going.settings.training, going.config_of(best.values)),
        changes=tuple(
            Change(name, current[name], value) for name, value in best.values.items() if value != current[name]
        ),
        comparisons=compared(bench, records[0], best), interrupted=interrupted,
        warnings=tuple(dict.fromkeys([*going.tracked.warnings, *going.warnings])),
    )  # fmt: skip


def _close(tracked: TrackedRun, report: TuneReport) -> None:
    figures = {"best.score": report.best.score, "trials": float(len(report.trials) - 1)}
    for scene, found in report.comparisons.items():
        figures |= {
            f"confirmed.{scene}.current.ndcg@10": found.current, f"confirmed.{scene}.tuned.ndcg@10": found.tuned,
            f"confirmed.{scene}.difference": found.difference.mean, f"confirmed.{scene}.low": found.difference.low,
            f"confirmed.{scene}.high": found.difference.high,
        }  # fmt: skip
    tracked.log_metrics(figures)
    tracked.finish(failed=False)
