"""Answering many questions with one set of models, in as many processes as there are cores.

Processes are spawned, not forked: Polars and OpenMP keep threads that do not survive a fork. Each maps the same release
files, so memory is shared; chunks come back in order, so results do not depend on the number of processes.
"""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from models.release import load_release, write_release
from models.trained import Models
from training.progress import Advance

Q = TypeVar("Q")
A = TypeVar("A")
# A process needs seconds to start; fewer questions than this are answered sooner by one.
FEW: Final = 1500
CHUNK: Final = 250

_mapped: list[Models] = []


def answer_all(
    models: Models, answer: Callable[[Models, Sequence[Q]], A], questions: Sequence[Q], workers: int, advance: Advance
) -> list[A]:
    """Apply `answer` (a module's function) to the questions chunk by chunk and return its answers in order."""
    chunks = [questions[i : i + CHUNK] for i in range(0, len(questions), CHUNK)]
    if workers <= 1 or len(questions) < FEW:
        found = []
        with threadpool_limits(limits=1):
            for chunk in chunks:
                found.append(answer(models, chunk))
                advance(len(chunk))
        return found
    with tempfile.TemporaryDirectory(prefix="pond-models-") as scratch:
        directory = Path(scratch) / "models"
        facts = {"release_id": "scratch", "shop": "scratch", "created_at": 0, "dataset_digest": ""}
        write_release(models, directory, facts)
        with ProcessPoolExecutor(workers, get_context("spawn"), _map_models, (directory,)) as pool:
            found = []
            for chunk, result in zip(chunks, pool.map(_answer, [answer] * len(chunks), chunks), strict=True):
                found.append(result)
                advance(len(chunk))
            return found


def _map_models(directory: Path) -> None:
    threadpool_limits(limits=1)
    _mapped[:] = [load_release(directory, verify=False).models]


def _answer(answer: Callable[[Models, Any], A], chunk: Any) -> A:
    return answer(_mapped[0], chunk)
