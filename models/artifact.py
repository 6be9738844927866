"""Saving and loading frozen values made of arrays, without pickle (DESIGN §3, releases).

A value is a frozen dataclass. Its fields may be NumPy arrays (npy), SciPy CSR arrays, Polars frames (Parquet), pydantic
configurations, other such dataclasses (a folder each), classes with `save(directory)` and `load(directory)` of
their own (an index), or plain JSON values. Arrays come back memory-mapped, read-only.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_origin, get_type_hints, runtime_checkable

import numpy as np
import polars as pl
import scipy.sparse as sp
from pydantic import BaseModel

from features.arrays import AnyArray
from features.errors import ArtifactCorrupt, PondError

T = TypeVar("T")


@runtime_checkable
class Savable(Protocol):
    """A part of an artifact with a file format of its own."""

    def save(self, directory: Path) -> None:
        """Write it below `directory` (which exists and is empty)."""
        ...

    @classmethod
    def load(cls, directory: Path) -> "Savable":
        """Read it back."""
        ...


def save_value(value: Any, directory: Path) -> None:
    """Write a frozen dataclass below `directory`, which is created."""
    directory.mkdir(parents=True, exist_ok=False)
    plain: dict[str, Any] = {}
    for field in fields(value):
        part = getattr(value, field.name)
        at = directory / field.name
        if isinstance(part, np.ndarray):
            np.save(at.with_suffix(".npy"), np.ascontiguousarray(part), allow_pickle=False)
        elif isinstance(part, sp.csr_array):
            at.mkdir()
            for name in ("data", "indices", "indptr"):
                np.save(at / f"{name}.npy", getattr(part, name), allow_pickle=False)
            np.save(at / "shape.npy", np.array(part.shape, np.int64), allow_pickle=False)
        elif isinstance(part, pl.DataFrame):
            part.write_parquet(at.with_suffix(".parquet"))
        elif isinstance(part, BaseModel):
            plain[field.name] = part.model_dump(mode="json")
        elif isinstance(part, Savable):
            at.mkdir()
            part.save(at)
        elif is_dataclass(part):
            save_value(part, at)
        else:
            plain[field.name] = part
    (directory / "value.json").write_text(json.dumps(plain, sort_keys=True, ensure_ascii=False, indent=1), "utf-8")


def load_value(cls: type[T], directory: Path) -> T:
    """Read back what `save_value` wrote; any damage is `ArtifactCorrupt` with the file's name.

    A part with a default takes it when an older Pond did not write the part; that nothing is lost, checksums say.
    """
    with _reading(directory / "value.json"):
        plain = json.loads((directory / "value.json").read_text("utf-8"))
        hints, there = get_type_hints(cls), {path.stem for path in directory.iterdir()} | plain.keys()
        parts = [f for f in fields(cls) if f.name in there or not _has_default(f)]  # type: ignore[arg-type]
    with _reading(directory):
        return cls(**{f.name: _load_part(hints[f.name], directory / f.name, plain) for f in parts})


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say which file cannot be read, whatever the library that reads it raises: each has errors of its own."""
    try:
        yield
    except PondError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise ArtifactCorrupt(str(path), f"cannot be read ({type(error).__name__}: {str(error)[:200]})") from error


def _has_default(part: Field[Any]) -> bool:
    return part.default is not MISSING or part.default_factory is not MISSING


def _load_part(kind: Any, at: Path, plain: Mapping[str, Any]) -> Any:
    if at.with_suffix(".npy").exists():
        # As a plain array: every slice of a memmap object pays for being one.
        return _mapped(at.with_suffix(".npy")).view(np.ndarray)
    if at.with_suffix(".parquet").exists():
        with _reading(at.with_suffix(".parquet")):
            return pl.read_parquet(at.with_suffix(".parquet"))
    if at.is_dir() and (at / "indptr.npy").exists() and (at / "shape.npy").exists():
        parts = [_mapped(at / f"{name}.npy") for name in ("data", "indices", "indptr")]
        shape = tuple(_mapped(at / "shape.npy").tolist())
        with _reading(at):
            return sp.csr_array(tuple(parts), shape=shape)
    if at.is_dir():
        with _reading(at):
            return kind.load(at) if issubclass(kind, Savable) else load_value(kind, at)
    with _reading(at.parent / "value.json"):
        part = plain[at.name]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_validate(part)
        return tuple(part) if get_origin(kind) is tuple else part


def _mapped(path: Path) -> AnyArray:
    with _reading(path):
        array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
