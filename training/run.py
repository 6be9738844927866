"""One training run: from the lake to a release that serves, or to a sentence that says why not (DESIGN §6)."""

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from features.checks import run_checks
from features.dataset import Dataset, build_dataset
from features.durable import write_synced
from features.erasure import read_erased
from features.errors import LakeRewritten, NothingToJudge, PondError, UsageError
from features.lake import Lake
from features.shop import Shop
from features.watermarks import Watermark, watermarks, write_watermarks
from models.config import PipelineConfig
from models.release import Release
from models.release_store import DirectoryStore
from training.baselines import count_baskets
from training.evaluate import INCUMBENT, POND, EvaluationReport, evaluate, nothing_judged
from training.fit import FitScope, Fitted, fit_models
from training.gates import GateReport, judge_gates
from training.plots import draw_product_map, draw_rankers, draw_report
from training.progress import ProgressReport, Quiet
from training.publish import git_sha, new_release_id, publish_release, write_keepsakes
from training.registry import model_name
from training.settings import RunSettings
from training.split import Split, sampled, split_all
from training.tracking import NoTracker, TrackedRun, Tracker

LIBRARIES: Final = ("numpy", "scipy", "polars", "implicit", "rectools-lightfm", "scikit-learn", "faiss-cpu", "lightgbm")


class TrainReport(BaseModel):
    """What a run did; also what `run.json` says at its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shop: str
    release_id: str
    as_of: int = Field(description="UTC µs; the release has seen everything strictly before")
    promoted: bool
    content_digest: str
    dataset_digest: str
    counts: dict[str, int]
    evaluation: EvaluationReport
    gates: GateReport
    seconds: dict[str, float] = Field(description="Wall time of each step")
    warnings: tuple[str, ...]
    rankers: dict[str, str] = Field(description="By scene: what its ranker or its weights learned from, or why not")
    run_dir: str


@dataclass
class _Run:
    """The state of a run that is going on, and its `run.json`."""

    shop: Shop
    settings: RunSettings
    release_id: str
    directory: Path
    progress: ProgressReport
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def say(self, status: str, **facts: Any) -> None:
        """Write `run.json` anew, whole."""
        content = {
            "release_id": self.release_id, "shop": self.shop.name, "status": status,
            "training": self.settings.training.model_dump(mode="json"),
            "pipeline": self.settings.pipeline.model_dump(mode="json"),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
            "seconds": {name: round(took, 2) for name, took in self.seconds.items()}, "warnings": self.warnings,
        }  # fmt: skip
        text = json.dumps(content | facts, ensure_ascii=False, indent=1)
        write_synced(self.directory / "run.json", text.encode())

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started


def train(
    shop: Shop,
    settings: RunSettings,
    as_of: int | None = None,
    progress: ProgressReport | None = None,
    *,
    promote: bool = True,
    tracker: Tracker | None = None,
    show: Callable[[TrainReport], None] | None = None,
) -> TrainReport:
    """Train, judge, publish and (when the gates agree) promote a release of a shop.

    Parameters
    ----------
    as_of : int, optional
        UTC µs; nothing at or after it is seen. Default: just after the last event.
    promote : bool
        False: the release is published but does not serve, whatever the gates say.
    tracker : Tracker, optional
        Default: none; `training.tracking.open_tracker` opens MLflow.
    show : callable, optional
        Given the report once everything is recorded, also when the gates then refuse the release.

    Raises
    ------
    GateRefused
        After everything is recorded: the release is kept as challenger, and the one that served goes on serving.
    """
    created_at = time.time_ns() // 1000
    release_id = new_release_id(created_at)
    run = _Run(shop, settings, release_id, shop.root / "runs" / release_id, progress or Quiet())
    run.directory.mkdir(parents=True)
    run.say("running", as_of=as_of)
    tracked = (tracker or NoTracker()).start(shop.name, release_id)
    try:
        report = _train(run, tracked, as_of, created_at, promote=promote)
    except BaseException as error:
        reason = str(error) if isinstance(error, PondError) else repr(error)
        run.say("failed", as_of=as_of, error=reason)
        tracked.finish(failed=True, reason=reason)
        raise
    if show is not None:
        show(report)
    if promote and not report.promoted:
        raise report.gates.refusal(release_id)
    return report


def _train(run: _Run, tracked: TrackedRun, as_of: int | None, created_at: int, *, promote: bool) -> TrainReport:
    settings = run.settings.training
    dataset, marks = _read(run, as_of)
    store = DirectoryStore(run.shop.releases_dir)
    serving = store.current_id()
    incumbent = store.load(serving) if serving else None
    judged, earlier = _judge(run, dataset, incumbent)
    gates = judge_gates(judged, settings, first=incumbent is None)
    with run.timed("fit for release"):
        fitted = fit_models(dataset, run.settings.pipeline, settings, run.progress, earlier=earlier)
    run.notes.update(fitted.notes)
    facts = {
        "release_id": run.release_id, "shop": run.shop.name, "created_at": created_at,
        "dataset_digest": dataset.digest, "git_sha": git_sha(Path(__file__).parent), "counts": dataset.counts,
        "watermarks": write_watermarks(marks), "metrics": judged.figures(), "gates": gates.as_facts,
    }  # fmt: skip
    with run.timed("publish"), run.progress.step("publish"):
        release = publish_release(fitted.models, store, facts, settings.seed)
    promoted = promote and (gates.passed or incumbent is None)
    if promoted:
        store.promote(run.release_id)
    with run.timed("record"), run.progress.step("plots and tracking"):
        _record(run, tracked, release, judged, dataset, promoted=promoted)
    report = TrainReport(
        shop=run.shop.name, release_id=run.release_id, as_of=dataset.as_of, promoted=promoted,
        content_digest=release.manifest.content_digest, dataset_digest=dataset.digest, counts=dataset.counts,
        evaluation=judged, gates=gates, seconds=dict(run.seconds), warnings=tuple(run.warnings),
        rankers=run.notes,
        run_dir=str(run.directory),
    )  # fmt: skip
    run.say("finished", report=report.model_dump(mode="json"))
    return report


def _read(run: _Run, as_of: int | None) -> tuple[Dataset, dict[str, Watermark]]:
    lake = Lake(run.shop.lake_dir)
    with run.timed("checks"), run.progress.step("check the data"):
        found = run_checks(lake, run.shop)
    run.warnings += [f"check {c.name}: {c.sentence}" for c in found if c.status == "FAIL"]
    with run.timed("dataset"), run.progress.step("read the lake"):
        dataset, marks = _snapshot(lake, run.shop, as_of)
        run.say("running", as_of=dataset.as_of, dataset_digest=dataset.digest, counts=dataset.counts)
    if as_of is not None and marks:
        run.warnings.append(
            "--as-of with live events: what was drained after that moment is in neither the release nor the tail."
        )
    return dataset, marks


def _snapshot(lake: Lake, shop: Shop, as_of: int | None) -> tuple[Dataset, dict[str, Watermark]]:
    """Read the lake at a moment between two drains, so that dataset and watermarks are of one state."""
    while True:
        marks = watermarks(lake.commits("events"))
        try:
            dataset = build_dataset(lake, shop.name, shop.timezone, as_of, read_erased(shop), obeys_later_words=True)
        except (LakeRewritten, FileNotFoundError):
            continue  # a customer was erased meanwhile; a part that is lost says so itself
        if watermarks(lake.commits("events")) == marks:
            break
    if as_of is not None:
        _refuse_before_everything(lake, shop, as_of)
    return dataset, marks


def _refuse_before_everything(lake: Lake, shop: Shop, as_of: int) -> None:
    first = lake.scan("events").select(pl.col("at").min()).collect().item()
    if first is not None and first >= as_of:
        began = datetime.fromtimestamp(first / 1e6, UTC).isoformat(timespec="seconds")
        raise UsageError(f"Nothing of shop '{shop.name}' happened before --as-of; its data begin at {began}.")


def _judge(
    run: _Run, dataset: Dataset, incumbent: Release | None
) -> tuple[EvaluationReport, tuple[Split, Fitted] | None]:
    """Fit the recipe (and the incumbent's, when it is another) on the known part and judge both.

    Returns the report, and the split with what was fitted on it for the release to learn from. A shop too young to be
    judged gets its release all the same, with a warning: it must answer from its first day.
    """
    settings, config = run.settings.training, run.settings.pipeline
    try:
        split = split_all(dataset, settings)
    except NothingToJudge as error:
        run.warnings.append(f"nothing could be judged, so no gate was asked: {error}")
        return nothing_judged(str(error), dataset.as_of), None
    scope = FitScope(judged=settings.scenes)
    with run.timed("fit for evaluation"):
        fitted = fit_models(split.known, config, settings, run.progress, scope=scope)
        systems = {POND: fitted.models}
        other = _other_recipe(incumbent, config)
        if other is not None:
            systems[INCUMBENT] = fit_models(split.known, other, settings, run.progress, scope=scope).models
    with run.timed("evaluate"):
        return evaluate(sampled(split, settings), systems, settings, run.progress).report, (split, fitted)


def _other_recipe(incumbent: Release | None, config: PipelineConfig) -> PipelineConfig | None:
    """Return the serving release's recipe when it differs: the same one would be compared with itself.

    The recipe is judged, refitted, not the release: that one may have been trained on the truth of this split.
    """
    if incumbent is None or incumbent.models.config.digest == config.digest:
        return None
    return incumbent.models.config


def _record(
    run: _Run, tracked: TrackedRun, release: Release, report: EvaluationReport, dataset: Dataset, *, promoted: bool
) -> None:
    plots = run.directory / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    if report.scenes:
        draw_report(report, plots)
    draw_product_map(release.models, count_baskets(dataset), plots / "product_map.png", run.settings.training.seed)
    draw_rankers(release.models.rankers, plots)
    write_keepsakes(release, run.directory)
    write_synced(run.directory / "evaluation.json", report.model_dump_json(indent=1).encode())
    tracked.log_params(_flat(run.settings))
    tracked.log_metrics(_all_figures(report) | {f"seconds.{k}": v for k, v in run.seconds.items()})
    for folder in ("plots", "release", "embeddings"):
        tracked.log_files(run.directory / folder, folder)
    tracked.register(model_name(run.shop.name), run.release_id, champion=promoted)
    tracked.finish(failed=False)
    run.warnings += tracked.warnings


def _all_figures(report: EvaluationReport) -> dict[str, float]:
    """Pond's figures under their own names, the others' under theirs."""
    figures = report.figures()
    for system in {name for scene in report.scenes.values() for name in scene.metrics} - {POND}:
        figures |= {f"{system}.{name}": value for name, value in report.figures(system).items()}
    return figures


def _flat(settings: RunSettings) -> dict[str, object]:
    """Return all settings, also the standard ones, by dotted path."""
    config = settings.pipeline
    tree: dict[str, Any] = {
        "training": settings.training.model_dump(mode="json"),
        "sources": {name: config.source(name).model_dump(mode="json") for name in config.used_sources},
        "scenes": {name: scene.model_dump(mode="json") for name, scene in config.all_scenes.items()},
        "ranker": config.ranker.model_dump(mode="json"),
    }
    flat: dict[str, object] = {}

    def walk(path: str, node: Any) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                walk(f"{path}.{name}" if path else name, value)
        else:
            flat[path] = node

    walk("", tree)
    return flat | {"config_digest": config.digest}
