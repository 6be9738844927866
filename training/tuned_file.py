"""`pond-tuned.toml`: what tuning changed and nothing else, in the form that `--config` takes."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from features.durable import write_synced
from features.errors import UsageError
from models.catalogue import SOURCES
from training.settings import RunSettings

MARK: Final = "# Written by pond tune."
BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# How a run is done and recorded, not what comes out of it.
NOT_OF_THE_RESULT: Final = {"workers", "tracking", "tracking_uri"}


def check_place(path: Path, *, force: bool) -> None:
    """Refuse, before any work is done, a place that holds something which `pond tune` did not write.

    A file of an earlier tuning is replaced: a study that goes on writes a better one.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} is no place for a file; give another one with --out.")
    if force or not path.exists():
        return
    with path.open("rb") as file:
        if file.read(len(MARK)) != MARK.encode():
            raise UsageError(f"{path} was not written by pond tune; add --force to replace it, or give another --out.")


def differences(bare: RunSettings, best: RunSettings) -> dict[str, Any]:
    """Return what must be said over `bare` (a shop's own settings) to get `best`, as a tree of `pond.toml`.

    The sources of a scene are named whole, because naming some of them means asking no others.
    """
    return _different(_tree(bare), _tree(best), ())


def _tree(settings: RunSettings) -> dict[str, Any]:
    config = settings.pipeline
    return {
        "training": settings.training.model_dump(exclude=NOT_OF_THE_RESULT),
        "sources": {name: config.source(name).model_dump() for name in SOURCES},
        "scenes": {name: scene.model_dump() for name, scene in config.all_scenes.items()},
        "ranker": config.ranker.model_dump(),
    }


def _different(under: Mapping[str, Any], over: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in over.items():
        below = under.get(name)
        if value == below or value is None:  # TOML knows no null; none of these settings goes from a value to null
            continue
        whole = name == "sources" and len(path) == 2
        if isinstance(value, dict) and isinstance(below, dict) and not whole:
            found[name] = _different(below, value, (*path, name))
        else:
            found[name] = value
    return found


def toml_text(tree: Mapping[str, Any]) -> str:
    """Return a tree of tables, numbers, texts, truth values and lists as TOML (v1.0)."""
    lines: list[str] = []

    def write(table: Mapping[str, Any], path: Sequence[str]) -> None:
        plain = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
        if path and (plain or not table):
            lines.extend(["", f"[{'.'.join(_key(name) for name in path)}]"])
        lines.extend(f"{_key(name)} = {_value(value)}" for name, value in plain.items())
        for name, value in table.items():
            if isinstance(value, Mapping):
                write(value, (*path, name))

    write(tree, ())
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_value(each) for each in value)}]"
        case _:
            return repr(value)


def _text(text: str) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_tuned(path: Path, comment: Sequence[str], tree: Mapping[str, Any]) -> None:
    """Write the file whole, atomically, with what it is in comments before it."""
    lines = [MARK, *(f"# {' '.join(line.split())}" for line in comment)]
    write_synced(path, ("\n".join(lines) + "\n" + toml_text(tree)).encode())
