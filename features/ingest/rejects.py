"""Rejected rows: one JSON object a line with the line number, the reason and the row as it stood in the file."""

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import orjson

from features.durable import storage_errors
from features.ingest.source import Reject


class RejectWriter:
    """Writes `<table>-<file>-<moment>.jsonl`; the file appears under its name when ingestion ends well."""

    def __init__(self, directory: Path, name: str) -> None:
        self._final = directory / f"{name}.jsonl"
        self._temporary = directory / f"{name}.tmp"
        self._file: BinaryIO | None = None
        self.reasons: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Rows rejected so far."""
        return self.reasons.total()

    def write(self, rejects: Iterable[Reject]) -> None:
        """Add rows."""
        with storage_errors(self._final.parent):
            for reject in rejects:
                if self._file is None:
                    self._final.parent.mkdir(parents=True, exist_ok=True)
                    self._file = self._temporary.open("wb")
                line = {"line": reject.line, "reason": reject.reason, "row": reject.row}
                self._file.write(orjson.dumps(line) + b"\n")
                self.reasons[reject.reason] += 1

    def close(self) -> Path | None:
        """Finish the file and return where it is; None when no row was rejected."""
        if self._file is None:
            return None
        with storage_errors(self._final.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._final)
        self._file = None
        return self._final

    def discard(self) -> None:
        """Remove the file: ingestion failed, so its rows are where they were."""
        if self._file is not None:
            with suppress(OSError):  # what is buffered cannot be written to a full disk, and is not wanted
                self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)
        self._final.unlink(missing_ok=True)
