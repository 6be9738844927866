"""Where runs are recorded: the seam, a null object and MLflow (DESIGN §6).

A tracker never stops a run: what it cannot record after some tries is a warning in the run's report. The pointer of the
release store, not the tracker, says what serves.
"""

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from training.registry import register_version

R = TypeVar("R")
TRIES: Final = 3
MOST_PARAMS: Final = 100  # MLflow's limit for one batch
PARAM_CHARS: Final = 6000
PARENT_TAG: Final = "mlflow.parentRunId"
OF_RELEASE: Final = "the release is not affected: its figures stand in run.json and its manifest."
OF_STUDY: Final = "the study is not affected: its trials stand in the shop's folder."


class TrackedRun(Protocol):
    """One run being recorded."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings and facts by name."""
        ...

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record figures by name."""
        ...

    def log_files(self, directory: Path, folder: str) -> None:
        """Keep a copy of all files below a directory, under `folder`."""
        ...

    def register(self, model: str, release_id: str, *, champion: bool) -> None:
        """Register the run's release as a model version, as champion or challenger."""
        ...

    def finish(self, *, failed: bool, reason: str = "") -> None:
        """Close the run."""
        ...

    def child(self, name: str) -> "TrackedRun":
        """Open a run below this one, such as a trial of a tuning."""
        ...

    @property
    def run_id(self) -> str:
        """The run's name in the tracker, to go on with it later; empty where nothing is recorded."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be recorded, in plain sentences."""
        ...


class Tracker(Protocol):
    """Opens runs."""

    def start(self, shop: str, release_id: str) -> TrackedRun:
        """Open the run of a release in the shop's experiment; never raises because the server is away."""
        ...

    def go_on(self, shop: str, study: str, run_id: str) -> TrackedRun:
        """Open the run of a study again, or begin it when there is none of that id."""
        ...


@dataclass(frozen=True, slots=True)
class UntrackedRun:
    """Records nothing."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def log_files(self, directory: Path, folder: str) -> None:
        """Do nothing."""

    def register(self, model: str, release_id: str, *, champion: bool) -> None:
        """Do nothing."""

    def finish(self, *, failed: bool, reason: str = "") -> None:
        """Do nothing."""

    def child(self, name: str) -> "UntrackedRun":  # noqa: ARG002
        """Return another that records nothing."""
        return self

    @property
    def run_id(self) -> str:
        """None."""
        return ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Nothing was asked, nothing is missing."""
        return ()


@dataclass(frozen=True, slots=True)
class NoTracker:
    """For shops that keep no MLflow: `run.json` and the release's manifest still say everything."""

    def start(self, shop: str, release_id: str) -> TrackedRun:  # noqa: ARG002
        """Open a run that records nothing."""
        return UntrackedRun()

    def go_on(self, shop: str, study: str, run_id: str) -> TrackedRun:  # noqa: ARG002
        """Open a run that records nothing."""
        return UntrackedRun()


@dataclass(frozen=True)
class MlflowTracker:
    """Records to an MLflow store: a SQLite file by default, any server by its URL.

    Attributes
    ----------
    uri : str
        `sqlite:///…`, `http(s)://…` or whatever MLflow understands.
    artifacts : Path or None
        Where files go for a store without a server; None leaves it to the server.
    pause_s : float
        Wait before the second try; doubled after each.
    """

    uri: str
    artifacts: Path | None = None
    pause_s: float = 0.5

    @cached_property
    def client(self) -> Any:
        """MLflow's client; importing it takes seconds, so it happens when the first run is opened."""
        # Said before the import: MLflow reads it while it is imported, and Pond sends nobody's usage anywhere.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["DO_NOT_TRACK"] = "true"
        if self.uri.startswith("http"):
            # Its own retries wait for minutes; ours end soon, because the release must not wait for a tracker.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient  # noqa: PLC0415 — a heavy, optional library behind its door (DESIGN §1)

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def start(self, shop: str, release_id: str) -> TrackedRun:
        """Open a run in the experiment `pond/<shop>`, created when missing."""
        run = MlflowRun(self, shop, OF_RELEASE)
        run.open(release_id, {"pond.release": release_id})
        return run

    def go_on(self, shop: str, study: str, run_id: str) -> TrackedRun:
        """Open the run of a study again; where it is gone, begin a new one."""
        run = MlflowRun(self, shop, OF_STUDY)
        if not (run_id and run.reopen(run_id)):
            run.open(f"tune {study}", {"pond.study": study})
        return run


def open_tracker(uri: str, home: Path) -> MlflowTracker:
    """Return the tracker of a setting: empty means SQLite and files under `home/mlflow`."""
    if uri:
        return MlflowTracker(uri)
    root = home / "mlflow"
    root.mkdir(parents=True, exist_ok=True)
    return MlflowTracker(f"sqlite:///{root.resolve() / 'mlflow.db'}", root.resolve() / "artifacts")


@dataclass
class MlflowRun:
    """A run of `MlflowTracker`; after a call that fails for good it records no more and says so once."""

    tracker: MlflowTracker
    shop: str
    unaffected: str
    run_id: str = ""
    artifact_uri: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be recorded."""
        return tuple(self.said)

    def open(self, name: str, tags: Mapping[str, str]) -> None:
        """Create the experiment when missing, and the run."""

        def create(client: Any) -> tuple[str, str]:
            experiment_name = f"pond/{self.shop}"
            found = client.get_experiment_by_name(experiment_name)
            place = (self.tracker.artifacts / self.shop).as_uri() if self.tracker.artifacts else None
            experiment = (
                found.experiment_id if found else client.create_experiment(experiment_name, artifact_location=place)
            )
            run = client.create_run(experiment, run_name=name, tags={"pond.shop": self.shop} | dict(tags))
            return run.info.run_id, run.info.artifact_uri

        opened = self._tried("open a run", create)
        if opened is not None:
            self.run_id, self.artifact_uri = opened

    def reopen(self, run_id: str) -> bool:
        """Go on with a run that was closed; False when the store has none of that id."""

        def find(client: Any) -> tuple[str, str]:
            from mlflow.exceptions import MlflowException  # noqa: PLC0415 — as above
            from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode  # noqa: PLC0415 — as above

            try:
                run = client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    raise
                return "", ""
            if run.info.lifecycle_stage != "active":
                return "", ""
            client.update_run(run_id, status="RUNNING")
            return run.info.run_id, run.info.artifact_uri

        self.run_id, self.artifact_uri = self._tried("go on with the run", find) or ("", "")
        return bool(self.run_id or self.said)

    def child(self, name: str) -> TrackedRun:
        """Open a run below this one; where this one could not be recorded, its children are not."""
        if not self.run_id or self.said:
            return UntrackedRun()
        run = MlflowRun(self.tracker, self.shop, self.unaffected)
        run.open(name, {PARENT_TAG: self.run_id})
        return run

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings; long texts are cut at MLflow's limit."""
        rows = [(name, str(value)[:PARAM_CHARS]) for name, value in params.items()]

        def write(client: Any) -> None:
            from mlflow.entities import Param  # noqa: PLC0415 — as above

            for start in range(0, len(rows), MOST_PARAMS):
                client.log_batch(self.run_id, params=[Param(*row) for row in rows[start : start + MOST_PARAMS]])

        self._recorded("log parameters", write)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record figures; `@`, which MLflow does not allow in names, becomes `_at_`."""
        now = time.time_ns() // 1_000_000

        def write(client: Any) -> None:
            from mlflow.entities import Metric  # noqa: PLC0415 — as above

            rows = [Metric(name.replace("@", "_at_"), value, now, 0) for name, value in metrics.items()]
            for start in range(0, len(rows), 1000):
                client.log_batch(self.run_id, metrics=rows[start : start + 1000])

        self._recorded("log metrics", write)

    def log_files(self, directory: Path, folder: str) -> None:
        """Copy the files of a directory to the run."""
        self._recorded(f"keep {folder}", lambda client: client.log_artifacts(self.run_id, str(directory), folder))

    def register(self, model: str, release_id: str, *, champion: bool) -> None:
        """Create the model version of the release and point its alias at it."""
        source = f"{self.artifact_uri}/release"
        self._recorded(
            "register the model version",
            lambda client: register_version(client, model, source, self.run_id, release_id, champion=champion),
        )

    def finish(self, *, failed: bool, reason: str = "") -> None:
        """Close the run as FINISHED or FAILED, with the reason."""

        def close(client: Any) -> None:
            if reason:
                client.set_tag(self.run_id, "pond.failure", reason[:5000])
            client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

        self._recorded("close the run", close)

    def _recorded(self, what: str, write: Callable[[Any], None]) -> None:
        if self.run_id and not self.said:
            self._tried(what, write)

    def _tried(self, what: str, act: Callable[[Any], R]) -> R | None:
        pause = self.tracker.pause_s
        for left in reversed(range(TRIES)):
            try:
                # MLflow's own use of deprecated SQLAlchemy options is not news to anybody here.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    return act(self.tracker.client)
            except Exception as error:  # noqa: BLE001 — any outage of the tracker is a warning, whatever its library raises
                if left == 0:
                    self.said.append(
                        f"MLflow at {self.tracker.uri} could not {what} ({_first_line(error)}); {self.unaffected}"
                    )
                    break
            time.sleep(pause)
            pause *= 2
        return None


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
