"""Frozen values survive the disk, and damage is named."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict

from features.arrays import Float32s
from features.errors import ArtifactCorrupt
from models.artifact import load_value, save_value
from models.index.exact import ExactIndex


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = 0.5


@dataclass(frozen=True, eq=False)
class Inner:
    weights: Float32s
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outer:
    settings: Settings
    size: int
    near: sp.csr_array
    inner: Inner
    index: ExactIndex


def value() -> Outer:
    near = sp.csr_array(np.array([[0, 1.5], [0, 0]], np.float32))
    return Outer(
        Settings(rate=0.25),
        3,
        near,
        Inner(np.arange(3, dtype=np.float32), ("茶", "tea")),
        ExactIndex(np.eye(2, dtype=np.float32)),
    )


def test_a_value_comes_back_as_it_was_and_read_only(tmp_path: Path):
    save_value(value(), tmp_path / "v")
    back = load_value(Outer, tmp_path / "v")
    assert back.settings == Settings(rate=0.25)
    assert back.size == 3
    assert back.inner.names == ("茶", "tea")
    assert back.inner.weights.tolist() == [0, 1, 2]
    assert not back.inner.weights.flags.writeable
    assert back.near.toarray().tolist() == [[0, 1.5], [0, 0]]
    assert back.index.vectors.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("file", ["value.json", "inner/weights.npy", "near/indptr.npy", "index/vectors.npy"])
@pytest.mark.parametrize("damage", ["half", "gone"])
def test_damage_is_an_artifact_corrupt(tmp_path: Path, file: str, damage: str):
    save_value(value(), tmp_path / "v")
    path = tmp_path / "v" / file
    good = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ArtifactCorrupt):
        load_value(Outer, tmp_path / "v")


def test_a_value_is_never_written_over_another(tmp_path: Path):
    save_value(value(), tmp_path / "v")
    with pytest.raises(FileExistsError):
        save_value(value(), tmp_path / "v")
