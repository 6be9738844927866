"""Files beside the lake and the releases without a person: rejected rows, run reports, embeddings, logs.

Rejected rows that name him go whole; other texts keep their lines and lose his id; Parquet files lose his rows.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from features import columns as c
from features.durable import storage_errors, write_synced
from features.person import ERASED, Person

TEXTS: Final = frozenset({".json", ".jsonl", ".txt", ".log", ".csv", ".toml", ".md", ".tmp"})
WHOLE_LINES: Final = frozenset({".jsonl", ".csv", ".tmp"})


def files_below(root: Path, leave: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield the files below a directory, those below the directories in `leave` apart."""
    left = set(leave)
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if path in left or path.is_symlink():
            continue
        if path.is_dir():
            yield from files_below(path, left)
        elif path.is_file():
            yield path


def scrub_file(path: Path, person: Person) -> int:
    """Take a person out of one file and return how many rows, lines or words that were; 0 leaves it untouched."""
    if path.suffix == ".parquet":
        return _scrub_parquet(path, person)
    if path.suffix not in TEXTS:
        return 0
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if not person.pattern.search(text):
        return 0
    if path.suffix in WHOLE_LINES:
        lines = text.split("\n")
        kept = [line for line in lines if not person.pattern.search(line)]
        clean, count = "\n".join(kept), len(lines) - len(kept)
    else:
        clean, count = person.pattern.subn(ERASED, text)
    with storage_errors(path):
        write_synced(path, clean.encode("utf-8", "surrogateescape"))
    return count


def _scrub_parquet(path: Path, person: Person) -> int:
    rows = pl.scan_parquet(path)
    if c.CUSTOMER_ID not in rows.collect_schema():
        return 0
    if not rows.filter(person.own(rows)).head(1).collect().height:
        return 0
    frame = rows.collect()
    kept = frame.filter(~person.own(frame))
    writing = path.with_name(f".{path.name}.writing")
    try:
        with storage_errors(path):
            kept.write_parquet(writing)
            writing.replace(path)
    finally:
        writing.unlink(missing_ok=True)
    return frame.height - kept.height


def still_named(paths: Iterable[Path], person: Person) -> list[Path]:
    """Return the files in which an id that is telling still stands as a word; compressed ones are not judged."""
    pattern = person.telling.pattern
    if not person.telling.ids:
        return []
    return [
        path for path in paths
        if path.suffix != ".parquet" and pattern.search(path.read_bytes().decode("utf-8", "surrogateescape"))
    ]  # fmt: skip
