"""Looking for an id in every file below a directory: raw bytes, Parquet cells, arrays, archives, JSON escapes."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl


def spellings(text: str) -> set[bytes]:
    """The bytes in which files may spell a text: UTF-8, UTF-16, UTF-32, and JSON's escapes, also twice over."""
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    forms |= {json.dumps(form)[1:-1] for form in forms}
    found = {form.encode() for form in forms}
    return found | {text.encode("utf-16-le"), text.encode("utf-32-le")}


def traces_of(text: str, *roots: Path) -> list[str]:
    """Every file (or its name) below some roots that holds a text, with how it was found."""
    wanted, found = spellings(text), []
    for root in roots:
        for path in sorted(p for p in root.rglob("*") if p.is_file() or p.is_symlink()):
            if text in path.name:
                found.append(f"{path}: its name")
            try:
                data = path.read_bytes()
            except (FileNotFoundError, OSError):
                continue  # a socket, or a temporary file that has just gone
            found += [f"{path}: {how}" for how, decoded in _decoded(path, data) if any(w in decoded for w in wanted)]
    return found


def _decoded(path: Path, data: bytes) -> list[tuple[str, bytes]]:
    every = [("raw", data)]
    if path.suffix == ".parquet":
        frame = pl.read_parquet(io.BytesIO(data))
        every.append(("cells", "\n".join(_cells(frame)).encode()))
    elif path.suffix == ".npy":
        every.append(("array", np.ascontiguousarray(np.load(io.BytesIO(data), allow_pickle=False)).tobytes()))
    elif path.suffix == ".gz":
        every.append(("gzip", gzip.decompress(data)))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            every += [(f"zip {name}", archive.read(name)) for name in archive.namelist()]
    return every


def _cells(frame: pl.DataFrame) -> list[str]:
    found = []
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pl.List) and column.dtype.inner == pl.String:
            column = column.explode(empty_as_null=True)
        if column.dtype == pl.String:
            found += [cell for cell in column.to_list() if cell is not None]
    return found
