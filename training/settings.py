"""Settings of a run, merged once: defaults < `pond.toml` < `POND_*` < `--config` < `--set` (STYLE.md).

A setting's name is its path in `pond.toml`: `training.seed`, `sources.als.dim`, `scenes.home.sources.popular`. In the
environment the path is upper case with two underscores between its parts: `POND_TRAINING__SEED`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from features.errors import ContractError, UnreadableFile, UsageError
from features.sentences import mistake
from features.shop import Shop
from models.config import DEFAULT_SCENES, PipelineConfig, validated_pipeline_config

SECTIONS: Final = ("shop", "training", "sources", "scenes", "ranker", "parts", "fatigue")
ProtocolName: TypeAlias = Literal["auto", "time_split", "last_basket", "hold_out"]


class TrainingSettings(BaseModel):
    """How a run splits, judges and records; what it fits is `PipelineConfig`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, description="Seed of every part of the run.")
    protocol: ProtocolName = Field(
        "auto", description="How truth is held back; auto: what the order in the data allows."
    )
    horizon_days: int | None = Field(None, ge=1, description="Days of truth after the cut; none: chosen from the data.")
    ranker_horizon_days: int = Field(
        14, ge=1, description="Days whose baskets teach the rankers, at most a quarter of the data (time_split)."
    )
    learn_blends: bool = Field(
        default=True, description="Whether scenes without a ranker learn their weights; weights set here never change."
    )
    hold_out_share: float = Field(0.1, gt=0, lt=1, description="Share of items held back where nothing has an order.")
    customers: int = Field(1000, ge=1, description="Most customers judged, a seeded sample; the report says so.")
    k: tuple[PositiveInt, ...] = Field((10, 20), min_length=1, description="List lengths that metrics look at.")
    scenes: tuple[str, ...] = Field(("home", "next_basket", "discover", "rebuy"), description="Scenes judged.")
    bootstrap_samples: int = Field(1000, ge=100)
    gate: Literal["no_worse", "better", "off"] = Field(
        "no_worse",
        description="no_worse: refused where the interval of a difference lies below 0; better: refused unless the "
        "difference to each baseline lies above 0; off: nothing is refused.",
    )
    gate_scenes: tuple[str, ...] = Field(("home", "next_basket"), description="Scenes that the gates look at.")
    workers: int = Field(2, ge=1, le=256, description="Processes that answer questions; results do not depend on it.")
    tracking_uri: str = Field("", description="An MLflow server or store; empty: SQLite under POND_HOME/mlflow.")
    tracking: bool = Field(default=True, description="Whether runs are logged to MLflow.")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything a run is told."""

    training: TrainingSettings
    pipeline: PipelineConfig


def merge_settings(
    shop: Shop, env: Mapping[str, str], config: Path | None = None, sets: Sequence[str] = ()
) -> RunSettings:
    """Merge and check a shop's settings; a mistake is one sentence naming the setting and where it came from.

    Parameters
    ----------
    shop : Shop
        Its `pond.toml` comes first.
    env : mapping
        The environment; only `POND_TRAINING__…`, `POND_SOURCES__…`, `POND_SCENES__…`,
        `POND_RANKER__…`, `POND_PARTS__…` and `POND_FATIGUE__…` count.
    config : Path, optional
        A TOML file of `--config`.
    sets : sequence of str
        `path=value` of each `--set`.
    """
    tree = _checked(shop.config(), str(shop.config_file))
    origin = str(shop.config_file)
    for name in sorted(env):
        path = tuple(name.removeprefix("POND_").lower().split("__"))
        if name.startswith("POND_") and len(path) > 1 and path[0] in SECTIONS[1:]:
            _put(tree, path, _value(env[name]))
            origin = f"{origin}, environment"
    if config is not None:
        tree = _merged(tree, _checked(_read(config), str(config)))
        origin = f"{origin}, {config}"
    plain = deepcopy(tree)
    try:
        for text in sets:
            _put_told(tree, text)
        return _validated(tree, ", ".join(dict.fromkeys(origin.split(", "))))
    except (ContractError, UsageError) as error:
        _validated(plain, origin)  # a mistake that was there without --set is told as what it is
        if isinstance(error, ContractError):
            raise UsageError(_blamed(error, sets)) from error
        raise


def _put_told(tree: dict[str, Any], text: str) -> None:
    path_text, equals, value = text.partition("=")
    path = tuple(path_text.strip().split("."))
    if not equals or len(path) < 2 or path[0] not in SECTIONS[1:]:
        raise UsageError(f"'--set {text}' is not understood; write for example --set training.seed=1.")
    _put(tree, path, _value(value.strip()))


def _blamed(error: ContractError, sets: Sequence[str]) -> str:
    """Say which `--set` an error is about: the last whose path meets the setting's, else all of them."""
    where = f"{error.column}."
    paths = {text: f"{text.partition('=')[0].strip()}." for text in sets}
    met = [text for text, path in paths.items() if where.startswith(path) or path.startswith(where)]
    said = ", ".join(f"--set {text}" for text in met[-1:] or sets)
    inside = "" if not error.column or (met and where == paths[met[-1]]) else f"{error.column}: "
    return f"{said} cannot be used: {inside}{error.rule}"


def _validated(tree: Mapping[str, Any], origin: str) -> RunSettings:
    try:
        training = TrainingSettings.model_validate(tree.get("training", {}))
    except ValidationError as error:
        where, why = mistake(error)
        raise ContractError(origin, f"training.{where}", f"{why}; mend the setting.") from error
    parts = {name: tree[name] for name in SECTIONS[2:] if name in tree}
    pipeline = validated_pipeline_config({"seed": training.seed} | parts, origin)
    for scene in (*training.scenes, *training.gate_scenes):
        if scene not in pipeline.all_scenes:
            raise ContractError(origin, "training.scenes", f"there is no scene '{scene}'; mend the setting.")
    return RunSettings(training, pipeline)


def _checked(tree: Mapping[str, Any], origin: str) -> dict[str, Any]:
    for name, part in tree.items():
        if name not in SECTIONS or not isinstance(part, dict):
            raise ContractError(origin, name, f"is not a section; known are {', '.join(SECTIONS)}.")
    return deepcopy(dict(tree))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path given to --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableFile(str(path), f"is not valid TOML ({error}); mend the file.") from error


def _value(text: str) -> Any:
    """Read a value as TOML would; what is no TOML value is a plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for name, value in over.items():
        below = both.get(name)
        both[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set one value; a single weight of a standard scene leaves the scene's other weights standing."""
    if path[0] == "scenes" and len(path) == 4 and path[2] == "sources" and path[1] in DEFAULT_SCENES:
        scene = _section(_section(tree, "scenes", path), path[1], path)
        scene.setdefault("sources", dict(DEFAULT_SCENES[path[1]].sources))
    for part in path[:-1]:
        tree = _section(tree, part, path)
    tree[path[-1]] = value


def _section(tree: dict[str, Any], name: str, path: Sequence[str]) -> dict[str, Any]:
    """Return a section of a tree, made when it is not there."""
    found = tree.setdefault(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{'.'.join(path)} cannot be set: {name} is a value, not a section.")
    return found
