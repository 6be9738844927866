"""Studies on disk: what tuning tried and found, in Optuna's storage below the shop's folder (DESIGN §7).

    <shop>/tuning/studies.db    SQLite; `optuna-dashboard sqlite:///…` shows it
    <shop>/tuning/.lock         held while a tuning of the shop runs

A study belongs to one `StudyKey`: other data or other settings begin another one, so figures are never mixed. A trial
changes one part of the best settings so far; its value in Optuna is what that gained, because gains of trials that
started from different settings can be compared and scores cannot. What each trial proposes follows from the study's
seed and the trials before it: a study that was interrupted goes on exactly as if it had not been.
"""

import base64
import fcntl
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from features.arrays import Float32s
from features.errors import ContractError, UsageError
from models.rng import derived_seed
from training.tuning_space import Part, Setting, Value

BASELINE: Final = "current"
DATABASE: Final = "studies.db"
STARTING_TRIALS: Final = 1


@dataclass(frozen=True, slots=True)
class StudyKey:
    """What a study is about; one that differs in any of these is another study.

    Attributes
    ----------
    dataset : str
        Digest of what tuning may learn from.
    protocol : str
        How truth is held back, with every setting that draws or cuts it.
    scenes : str
        Scenes judged, in order.
    settings : str
        Digest of the configuration that tuning starts from, and of the ranges it may search.
    """

    dataset: str
    protocol: str
    scenes: str
    settings: str

    @property
    def name(self) -> str:
        """The study's name in the storage."""
        return hashlib.blake2b(repr(self).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, eq=False)
class TrialRecord:
    """A finished trial.

    Attributes
    ----------
    number : int
        In the study, as Optuna counts; abandoned trials leave gaps.
    part : str
        What it changed; `current` for the settings that tuning started from.
    changed : dict
        The part's settings by name.
    values : dict
        Every setting that differs from the start, by name: what was judged.
    score : float
        Mean over scenes of NDCG@10 over that of the current settings; 1 for these.
    gain, gain_error : float
        Score minus that of the settings it started from, on the same customers, and its standard error.
    better : bool
        Whether later trials start from it.
    means : dict
        NDCG@10 by scene, over the customers who choose.
    ndcg : float32 [n_scenes, n_customers]
        NaN where a scene did not ask a customer.
    seconds : float
    failure : str
        Why it could not be judged; its figures are 0 then.
    """

    number: int
    part: str
    changed: dict[str, Value]
    values: dict[str, Value]
    score: float
    gain: float
    gain_error: float
    better: bool
    means: dict[str, float]
    ndcg: Float32s
    seconds: float
    failure: str = ""


@dataclass
class Study:
    """One study, open; only one process at a time holds the studies of a shop."""

    key: StudyKey
    seed: int
    study: optuna.Study
    is_new: bool
    news: str = field(default="")

    def records(self) -> list[TrialRecord]:
        """Every trial that came to an end, in order; those abandoned on the way are not among them."""
        return [_record(trial) for trial in self.study.get_trials(deepcopy=False) if _counts(trial)]

    def keep_baseline(self, parts: tuple[Part, ...], learned: tuple[str, ...], record: TrialRecord) -> None:
        """Keep the current settings as the first trial, which knows their value in every part: a gain of nothing."""
        distributions: dict[str, BaseDistribution] = {}
        params: dict[str, Value] = {}
        for part in parts:
            for setting, value in zip(part.settings, part.current, strict=True):
                distributions[setting.name], params[setting.name] = _distribution(setting), value
        attributes = _attributes(record) | {"learned": list(learned)}
        self.study.add_trial(create_trial(params=params, distributions=distributions, value=0.0, user_attrs=attributes))

    @property
    def learned(self) -> tuple[str, ...]:
        """Rankers that the data was enough to learn, as the first trial found."""
        first = next(trial for trial in self.study.get_trials(deepcopy=False) if _counts(trial))
        return tuple(first.user_attrs["learned"])

    def ask(self, part: Part, turn: int) -> tuple[Trial, dict[str, Value]]:
        """Open a trial and return the values it proposes for a part's settings.

        A tree-structured Parzen estimator (Bergstra et al. 2011; multivariate: Falkner et al. 2018) of the gains of
        those trials alone that changed this part, and of the current settings; seeded by the study's seed and the turn.
        """
        distributions = {setting.name: _distribution(setting) for setting in part.settings}
        seed = derived_seed(self.seed, "tune", self.key.name, str(turn))
        sampler = optuna.samplers.TPESampler(multivariate=True, n_startup_trials=STARTING_TRIALS, seed=seed)
        # In the study itself the estimator would sort this part's trials among those of all others.
        alike = optuna.create_study(direction="maximize", sampler=sampler)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if distributions.keys() <= trial.params.keys():
                params = {name: trial.params[name] for name in distributions}
                alike.add_trial(create_trial(params=params, distributions=distributions, value=trial.value))
        proposed = alike.ask(distributions).params
        changed = {setting.name: setting.rounded(proposed[setting.name]) for setting in part.settings}
        self.study.enqueue_trial(changed)
        return self.study.ask(distributions), changed

    def tell(self, trial: Trial, record: TrialRecord) -> None:
        """Close a trial that was judged, or that failed for a reason that would come again."""
        for name, value in _attributes(record).items():
            trial.set_user_attr(name, value)
        if record.failure:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, record.gain)

    def abandon(self, trial: Trial) -> None:
        """Close a trial that was interrupted; its turn comes again."""
        self.study.tell(trial, state=TrialState.FAIL)

    @property
    def run_id(self) -> str:
        """The tracker's run that the trials are children of; empty before there is one."""
        return str(self.study.user_attrs.get("run_id", ""))

    def keep_run_id(self, run_id: str) -> None:
        """Remember the tracker's run for the next time."""
        self.study.set_user_attr("run_id", run_id)


@contextmanager
def open_study(folder: Path, key: StudyKey, seed: int) -> Iterator[Study]:
    """Open the study of a key, begun when missing, for as long as the block lasts.

    Raises
    ------
    UsageError
        Another process is tuning this shop.
    ContractError
        The studies' file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "Another `pond tune` of this shop is running; wait for it or stop it: its trials are kept."
            ) from error
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield _opened(folder / DATABASE, key, seed)
        finally:
            optuna.logging.set_verbosity(verbosity)


def _opened(database: Path, key: StudyKey, seed: int) -> Study:
    _check_sound(database)
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    known = optuna.get_all_study_summaries(storage)
    study = optuna.create_study(storage=storage, study_name=key.name, direction="maximize", load_if_exists=True)
    is_new = key.name not in {each.study_name for each in known}
    if is_new:
        study.set_user_attr("key", asdict(key))
        study.set_user_attr("begun_ms", time.time_ns() // 1_000_000)
    # Nobody else holds the lock, so whoever ran these is gone.
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.tell(study.ask(), state=TrialState.FAIL)
    news = _news(key, [each.user_attrs for each in known]) if is_new else ""
    return Study(key, seed, study, is_new, news)


def _check_sound(database: Path) -> None:
    if not database.exists():
        return
    try:
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
        connection.close()
    except sqlite3.DatabaseError as error:
        raise ContractError(
            str(database), "", f"is no store of studies ({error}); move it away and tuning begins anew."
        ) from error


def _news(key: StudyKey, known: list[Mapping[str, Any]]) -> str:
    """Say why none of the earlier studies goes on, by the one that is most alike and the latest."""
    said = {"dataset": "the data", "protocol": "the way of judging", "scenes": "the scenes", "settings": "the settings"}
    mine, alike = asdict(key), [attributes for attributes in known if "key" in attributes]
    if not alike:
        return ""
    other = min(alike, key=lambda a: (sum(a["key"].get(n) != v for n, v in mine.items()), -a.get("begun_ms", 0)))["key"]
    changed = " and ".join(said[name] for name, value in mine.items() if other.get(name) != value)
    return f"Since the last study {changed} changed: a new study begins, the old one stays as it is."


def _counts(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE or (trial.state == TrialState.FAIL and "failure" in trial.user_attrs)


def _distribution(setting: Setting) -> BaseDistribution:
    if setting.kind == "int":
        return IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return FloatDistribution(setting.low, setting.high, log=setting.log)


def _attributes(record: TrialRecord) -> dict[str, Any]:
    packed = base64.b64encode(np.ascontiguousarray(record.ndcg, np.float32).tobytes()).decode()
    shape = list(record.ndcg.shape)
    plain = {name: value for name, value in asdict(record).items() if name not in ("number", "ndcg")}
    if not record.failure:
        # Its presence tells a trial that failed by itself from one that was stopped while it was being written down.
        del plain["failure"]
    return plain | {"ndcg": json.dumps({"shape": shape, "float32": packed})}


def _record(trial: FrozenTrial) -> TrialRecord:
    attributes = dict(trial.user_attrs)
    attributes.pop("learned", None)
    packed = json.loads(attributes.pop("ndcg"))
    ndcg = np.frombuffer(base64.b64decode(packed["float32"]), np.float32).reshape(packed["shape"])
    return TrialRecord(number=trial.number, ndcg=ndcg, **attributes)
